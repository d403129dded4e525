"""Recurrent highway network."""

from tinyrnn import Cell, InputError, sigmoid, split, tanh


class RHN(Cell):
    """Recurrent highway network.

    Zilly et al. 2017, equations 6 to 9, with the carry gate coupled to the transform gate, c = 1 - t.

    s_0 = s, and for l = 1 ... depth:
    h_l = tanh([l = 1] x W_H + s_{l-1} R_Hl + b_Hl)
    t_l = sigmoid([l = 1] x W_T + s_{l-1} R_Tl + b_Tl)
    s_l = h_l t_l + s_{l-1} (1 - t_l)
    s' = s_depth

    H and T lie side by side in W and in each layer's R and b. The layers start out carrying: b_T is
    ``transform_bias``, the authors' -2.
    """

    states = ("s",)

    def build(self, input_size, hidden_size, *, depth: int = 3, transform_bias: float = -2.0):
        if depth < 1:
            raise InputError(f"depth is {depth}: it must be at least 1")
        self.W = self.weight(input_size, hidden_size, gates=2)
        self.R = [self.weight(hidden_size, hidden_size, gates=2, init="orthogonal") for _ in range(depth)]
        self.b = [self.bias(hidden_size, gates=2) for _ in range(depth)]
        for b in self.b:
            b.data[hidden_size:] = transform_bias

    def step(self, x, s):
        for layer, (R, b) in enumerate(zip(self.R, self.b, strict=True)):
            a = s @ R + b
            h, t = split(a if layer else x @ self.W + a, 2)
            t = sigmoid(t)
            s = tanh(h) * t + s * (1 - t)
        return s

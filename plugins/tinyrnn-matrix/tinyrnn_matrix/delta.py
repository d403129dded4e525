"""Memories that correct what they hold: Schlag, Irie & Schmidhuber 2021, "Linear transformers are secretly
fast weight programmers"; Yang, Wang, Zhang, Shen & Kim 2024, "Parallelizing linear transformers with the
delta rule"; Yang, Kautz & Hatamizadeh 2025, "Gated delta networks".
"""

from tinyrnn import Cell, InputError, einsum, exp, reshape, sigmoid, silu, softplus, sqrt


def dealt(name, hidden_size, heads):
    """The width of a head.

    Raises:
        InputError: the hidden units cannot be dealt to so many.
    """
    if heads < 1 or hidden_size % heads:
        raise InputError(f"{name}: hidden {hidden_size} is no multiple of heads={heads}: change one of them")
    return hidden_size // heads


def unit(z):
    """``z`` divided by its norm along the last axis."""
    return z / sqrt((z * z).sum(axis=-1, keepdims=True) + 1e-6)


class DeltaNet(Cell):
    """Linear attention by the delta rule: what the memory says for a key is replaced by the value.

    ::

        S' = S - beta (S k - v) k^T
        h' = S' q

    with beta = sigmoid(w x), k and q of norm 1 (Yang et al. 2024, section 2.2 and 3.3), in every head.

    Args:
        heads: that the hidden units are dealt to.
        key: width of keys and queries of a head.

    States: h [hidden], S [heads, hidden / heads, key].
    """

    states = ("h", "S")

    def build(self, input_size, hidden_size, *, heads: int = 1, key: int = 16):
        self.heads, self.key, self.d = heads, key, dealt("deltanet", hidden_size, heads)
        self.state_sizes = {"h": hidden_size, "S": (heads, self.d, key)}
        self.W_k, self.W_q = (self.weight(input_size, heads * key) for _ in range(2))
        self.W_v = self.weight(input_size, hidden_size)
        self.w_b, self.b_b = self.weight(input_size, heads), self.bias(heads)

    def parts(self, x):
        """Queries, keys, values and beta of each head."""
        k, q = (unit(silu(reshape(x @ W, (-1, self.heads, self.key)))) for W in (self.W_k, self.W_q))
        return (
            q,
            k,
            reshape(x @ self.W_v, (-1, self.heads, self.d)),
            sigmoid(x @ self.w_b + self.b_b)[..., None],
        )

    def written(self, S, k, v, beta):
        """``S`` with the value in the place of what it says for the key."""
        wrong = einsum("bhij,bhj->bhi", S, k) - v
        return S - (beta * wrong)[..., None] * k[:, :, None, :]

    def read(self, S, q):
        return reshape(einsum("bhij,bhj->bhi", S, q), (-1, self.hidden_size))

    def step(self, x, h, S):
        q, k, v, beta = self.parts(x)
        S = self.written(S, k, v, beta)
        return self.read(S, q), S


class GatedDeltaNet(DeltaNet):
    """DeltaNet that also forgets (Yang, Kautz & Hatamizadeh 2025, equation 10).

    ::

        S' = alpha S (I - beta k k^T) + beta v k^T
        h' = S' q

    with alpha = exp(-exp(a) softplus(w_a x + b_a)) of every head.

    Args:
        heads, key: as those of DeltaNet.

    States: h [hidden], S [heads, hidden / heads, key].
    """

    def build(self, input_size, hidden_size, *, heads: int = 1, key: int = 16):
        super().build(input_size, hidden_size, heads=heads, key=key)
        self.a = self.bias(heads)
        self.w_a, self.b_a = self.weight(input_size, heads), self.bias(heads, init=-4.0)

    def step(self, x, h, S):
        q, k, v, beta = self.parts(x)
        alpha = exp(-exp(self.a) * softplus(x @ self.w_a + self.b_a))
        S = self.written(alpha[:, :, None, None] * S, k, v, beta)
        return self.read(S, q), S

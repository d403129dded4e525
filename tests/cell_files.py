"""A cell as a file of a user's own holds it."""

CELL = """
import tinyrnn as tr

class Mine(tr.Cell):
    states = ("h",)

    def build(self, input_size, hidden_size):
        self.W, self.U, self.b = self.affine(input_size, hidden_size)

    def step(self, x, h):
        return tr.tanh(x @ self.W + h @ self.U + self.b)
"""

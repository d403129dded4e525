"""The autograd core in ten small steps. Run: python examples/autograd_tour.py"""

import numpy as np

import tinyrnn as tr

# 1. Tensors are NumPy arrays that remember how they were computed.
x = np.array([[1.0, 2.0], [3.0, 4.0]])
w = tr.tensor([[0.5, -0.5], [1.0, 0.0]], requires_grad=True)
y = tr.tanh(x @ w)
print("y        ", y.numpy().round(3).tolist())

# 2. backward() walks that record and leaves the derivative in .grad.
loss = (y**2).mean()
loss.backward()
print("dloss/dw ", w.grad.numpy().round(4).tolist())

# 3. The same by hand: d mean(tanh(xw)^2)/dw = x^T (2 y (1 - y^2)) / 4.
by_hand = x.T @ (2 * y.numpy() * (1 - y.numpy() ** 2)) / 4
print("by hand  ", by_hand.round(4).tolist())


# 4. Or as a function: grad turns f into its gradient.
def f(w):
    return (tr.tanh(x @ w) ** 2).mean()


print("grad(f)  ", tr.grad(f)(w).numpy().round(4).tolist())

# 5. Gradients are tensors too, so they have gradients: the second derivative of w^3 is 6 w.
cube = tr.grad(lambda v: tr.grad(lambda u: (u**3).sum())(v).sum())
print("6 w      ", cube(np.array([1.0, 2.0])).numpy().tolist())

# 6. Broadcasting is undone for you: the bias gets the sum over the batch.
b = tr.tensor([0.0, 0.0], requires_grad=True)
(x @ w + b).sum().backward()
print("dsum/db  ", b.grad.numpy().tolist())

# 7. Proof for any function of yours: compare with finite differences, to second order.
tr.check_grad(lambda a, c: tr.softmax(a @ c) * tr.sigmoid(c.sum()), np.ones((2, 3)), np.eye(3))
print("check_grad passed")

# 8. It does catch mistakes: detach() hides a part of the dependence from the tape.
try:
    tr.check_grad(lambda a: a * a.detach(), np.array([2.0]))
except tr.GradientError as error:
    print("caught   ", error)

# 9. A recurrence is a loop; 10,000 steps deep is no problem.
h = h0 = tr.tensor(0.1, requires_grad=True)
for _ in range(10_000):
    h = tr.sin(h + 0.001)
h.backward()
print("dh/dh0   ", f"{h0.grad.item():.3e}")

# 10. Train something: fit y = 3 x - 1 by gradient descent.
rng = np.random.default_rng(0)
inputs = rng.standard_normal((100, 1))
targets = 3 * inputs - 1
model = tr.Linear(1, 1, dtype="float64")
optimizer = tr.optim.SGD(model.parameters(), lr=0.2)
for _ in range(100):
    optimizer.zero_grad()
    tr.mse_loss(model(inputs), targets).backward()
    optimizer.step()
print("fitted   ", round(model.weight.item(), 3), round(model.bias.item(), 3))

"""The precision of products by cuBLAS; the stand-in remembers it and multiplies as ever."""

COMPUTE_TYPE_DEFAULT, COMPUTE_TYPE_TF32, COMPUTE_TYPE_BF16 = 0, 3, 5
_now = {}


def get_compute_type(dtype):
    return _now.get(str(dtype), COMPUTE_TYPE_DEFAULT)


def set_compute_type(dtype, compute_type):
    _now[str(dtype)] = compute_type

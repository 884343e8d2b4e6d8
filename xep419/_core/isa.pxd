from .ops cimport xep419_ops

# The instruction set in use. Set at import (and by tests through force()), read by every other module.
cdef const xep419_ops *ops

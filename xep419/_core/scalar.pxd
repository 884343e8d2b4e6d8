from .ops cimport xep419_ops

cdef xep419_ops scalar_ops

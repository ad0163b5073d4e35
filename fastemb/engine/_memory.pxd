cimport numpy as cnp

cdef object array_on_line(int dimensions, cnp.npy_intp* shape, int kind, cnp.npy_intp size)

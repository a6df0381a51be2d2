// The kernels for x86 CPUs with AVX-512 F, BW, DQ and VL. setup.py compiles this file with the flags for them.
#include "kernel.h"

prosebench::Kernels prosebench::avx512_kernels() { return {kernel<float>(), kernel<double>()}; }

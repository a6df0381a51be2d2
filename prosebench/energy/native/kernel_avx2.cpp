// The kernels for x86 CPUs with AVX2 and FMA. setup.py compiles this file with the flags for them.
#include "kernel.h"

prosebench::Kernels prosebench::avx2_kernels() { return {kernel<float>(), kernel<double>()}; }

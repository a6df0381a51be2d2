// The kernels for any CPU of the family the library is built for.
#include "kernel.h"

prosebench::Kernels prosebench::plain_kernels() { return {kernel<float>(), kernel<double>()}; }

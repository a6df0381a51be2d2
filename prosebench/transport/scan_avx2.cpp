// Scans for x86 CPUs with AVX2 and FMA. setup.py compiles this file with the flags for them.
#include "scan.h"

prosebench::Scan prosebench::avx2_scan() { return {values, bounds}; }

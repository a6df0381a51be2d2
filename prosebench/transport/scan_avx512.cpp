// Scans for x86 CPUs with AVX-512 F, BW, DQ and VL. setup.py compiles this file with the flags for them.
#include "scan.h"

prosebench::Scan prosebench::avx512_scan() { return {values, bounds}; }

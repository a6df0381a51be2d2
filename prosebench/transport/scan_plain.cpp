// Scans for any CPU of the family the library is built for.
#include "scan.h"

prosebench::Scan prosebench::plain_scan() { return {values, bounds}; }

#include "opencl-c-base.h"
#define OVERLOADED __attribute__((overloadable))
#define PURE __attribute__((overloadable, const))
#define PURE_READ __attribute__((overloadable, pure))
size_t PURE get_global_id(uint);
size_t PURE get_local_id(uint);
size_t PURE get_group_id(uint);
void __attribute__((overloadable, convergent)) barrier(cl_mem_fence_flags);
#define ONE(name) float PURE name(float); double PURE name(double);
#define TWO(name) float PURE name(float, float); double PURE name(double, double);
ONE(fabs) ONE(floor) ONE(ceil) ONE(rint) ONE(trunc) ONE(sqrt) ONE(exp) ONE(expm1) ONE(log) ONE(log2)
ONE(log10) ONE(log1p) ONE(sin) ONE(cos) ONE(tan) ONE(asin) ONE(acos) ONE(atan) ONE(sinh) ONE(cosh)
ONE(tanh) ONE(asinh) ONE(acosh) ONE(atanh) ONE(erf) ONE(erfc) ONE(lgamma)
TWO(fmod) TWO(pow) TWO(atan2) TWO(nextafter) TWO(fmax) TWO(fmin)
float PURE fma(float, float, float); double PURE fma(double, double, double);
#define LANES(n) \
  float##n PURE fma(float##n, float##n, float##n); double##n PURE fma(double##n, double##n, double##n); \
  float##n PURE_READ vload##n(size_t, const __global float*); void OVERLOADED vstore##n(float##n, size_t, __global float*); \
  double##n PURE_READ vload##n(size_t, const __global double*); void OVERLOADED vstore##n(double##n, size_t, __global double*); \
  void OVERLOADED vstore##n(float##n, size_t, float*); void OVERLOADED vstore##n(double##n, size_t, double*);
LANES(2) LANES(4) LANES(8) LANES(16)
int PURE isinf(float);
int PURE isinf(double);
float PURE_READ vload_half(size_t, const __global half*);
float PURE_READ vload_half(size_t, const half*);
void OVERLOADED vstore_half_rte(float, size_t, __global half*);
void OVERLOADED vstore_half_rte(float, size_t, half*);
int OVERLOADED atomic_add(volatile __global int*, int);
int OVERLOADED atomic_cmpxchg(volatile __global int*, int, int);
#undef OVERLOADED
#undef PURE

#define KERNEL extern "C" __global__
#define DEVICE static __device__
#define GLOBAL
typedef signed char i8;
typedef short i16;
typedef int i32;
typedef long long i64;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef float f32;
typedef double f64;
#define INDEPENDENT
#define UNROLL _Pragma("unroll")
#define LANE ((int)threadIdx.x)
#define GROUP_ID ((i64)blockIdx.x)
#define LOCAL __shared__
#define BARRIER __syncthreads()
#ifdef SUB_GROUP
#define SHUFFLE_DOWN(x, far) __shfl_down_sync(0xffffffffu, x, far)
#endif
#define CLAIM(p) (atomicCAS(p, 0, 1) == 0)
#define ATOMIC_ADD_f32(p, i, v) atomicAdd((p) + (i), v)
#define ATOMIC_ADD_i32(p, i, v) atomicAdd((p) + (i), v)
#define ITEM ((i64)blockIdx.x * blockDim.x + threadIdx.x)
#define BITS_F32(x) __uint_as_float(x)
#define F32_BITS(x) __float_as_uint(x)
#define BITS_F64(x) __longlong_as_double((i64)(x))
#define F64_BITS(x) ((u64)__double_as_longlong(x))
#define INFINITY __uint_as_float(0x7f800000u)
#define NAN __uint_as_float(0x7fc00000u)
// Instructions, so that no header is needed: the compiler alone is found on more machines.
DEVICE f32 from_f16(u16 bits) {
  f32 x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
  return x;
}
DEVICE u16 to_f16(f32 x) {
  u16 bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}
#define LOAD_F16(p, i) from_f16(((const u16*)(p))[i])
#define STORE_F16(p, i, v) (((u16*)(p))[i] = to_f16(v))

#include <cuda_fp16.h>
#define KERNEL extern "C" __global__
#define DEVICE __device__ static
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
#define ITEM ((i64)blockIdx.x * blockDim.x + threadIdx.x)
#define BITS_F32(x) __uint_as_float(x)
#define F32_BITS(x) __float_as_uint(x)
#define BITS_F64(x) __longlong_as_double(x)
#define LOAD_F16(p, i) __half2float(((const __half *)(p))[i])
#define STORE_F16(p, i, v) (((__half *)(p))[i] = __float2half_rn(v))

#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#pragma OPENCL FP_CONTRACT OFF
#define KERNEL __kernel
#define DEVICE static
#define GLOBAL __global
typedef char i8;
typedef short i16;
typedef int i32;
typedef long i64;
typedef uchar u8;
typedef ushort u16;
typedef uint u32;
typedef ulong u64;
typedef float f32;
#ifdef HAS_F64
typedef double f64;
#define BITS_F64(x) as_double(x)
#define F64_BITS(x) as_ulong(x)
#endif
// Before a loop whose turns use one element each, even where it is written to its own place.
#ifdef __clang__
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define INDEPENDENT
#define UNROLL
#endif
#define LANE ((int)get_local_id(0))
#define GROUP_ID ((i64)get_group_id(0))
#define LOCAL __local
#define BARRIER barrier(CLK_LOCAL_MEM_FENCE)
#define CLAIM(p) (atomic_cmpxchg((volatile GLOBAL i32*)(p), 0, 1) == 0)
#define ITEM ((i64)get_global_id(0))
#define BITS_F32(x) as_float(x)
#define F32_BITS(x) as_uint(x)
#define LOAD_F16(p, i) vload_half(0, (const GLOBAL half *)(p) + (i))
#define STORE_F16(p, i, v) vstore_half_rte((v), 0, (GLOBAL half *)(p) + (i))
// There is no addition of floats before OpenCL 3.
DEVICE void atomic_add_f32(volatile GLOBAL i32* p, f32 v) {
  i32 old = *p, seen = old;
  do {
    old = seen;
    seen = atomic_cmpxchg(p, old, as_int(as_float(old) + v));
  } while (seen != old);
}
#define ATOMIC_ADD_f32(p, i, v) atomic_add_f32((volatile GLOBAL i32*)((p) + (i)), v)
#define ATOMIC_ADD_i32(p, i, v) atomic_add((volatile GLOBAL i32*)((p) + (i)), v)
DEVICE f32 from_f16(u16 bits) { return vload_half(0, (const half*)&bits); }
DEVICE u16 to_f16(f32 x) {
  u16 bits;
  vstore_half_rte(x, 0, (half*)&bits);
  return bits;
}

#define MAX_RANK 8
typedef struct { i64 rank; i64 sizes[MAX_RANK]; } Sizes;
typedef struct { i64 offset; i64 strides[MAX_RANK]; } Place;

// What a call finds wrong first: see faults.rs.
typedef struct { i32 taken; i32 kind; i64 index; i64 size; } Fault;
DEVICE void fault(GLOBAL Fault* at, i32 kind, i64 index, i64 size) {
  if (CLAIM(&at->taken)) { at->kind = kind; at->index = index; at->size = size; }
}
#define FAULTS GLOBAL Fault* faults, i64 call
#define FAULT(index) fault(faults + call, 0, index, 0)
#ifdef CHECKED
DEVICE i64 stray(GLOBAL Fault* at, i64 i, i64 n) { fault(at, 1, i, n); return 0; }
#define AT(i, n) ((u64)(i) < (u64)(n) ? (i64)(i) : stray(faults + call, (i), (n)))
#endif

DEVICE f32 from_bf16(u16 bits) { return BITS_F32((u32)bits << 16); }
#define LOAD_BF16(p, i) from_bf16((p)[i])
DEVICE u16 to_bf16(f32 x) {
  u32 bits = F32_BITS(x);
  return x != x ? (u16)0x7fc0 : (u16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
#define STORE_BF16(p, i, v) ((p)[i] = to_bf16(v))

// Elements whose dtype an argument tells: see operand.rs.
DEVICE f32 load_f32(const GLOBAL void* p, i64 i, i32 type) {
  return type == 0 ? ((const GLOBAL f32*)p)[i] : type == 1 ? LOAD_F16(p, i) : LOAD_BF16((const GLOBAL u16*)p, i);
}
DEVICE void store_f32(GLOBAL void* p, i64 i, f32 v, i32 type) {
  if (type == 0) ((GLOBAL f32*)p)[i] = v;
  else if (type == 1) STORE_F16(p, i, v);
  else STORE_BF16((GLOBAL u16*)p, i, v);
}
DEVICE i32 load_i32(const GLOBAL void* p, i64 i, i32 type) {
  return type == 0 ? ((const GLOBAL i32*)p)[i] : type == 1 ? ((const GLOBAL i16*)p)[i]
    : type == 2 ? ((const GLOBAL i8*)p)[i] : ((const GLOBAL u8*)p)[i];
}
DEVICE void store_i32(GLOBAL void* p, i64 i, i32 v, i32 type) {
  if (type == 0) ((GLOBAL i32*)p)[i] = v;
  else if (type == 1) ((GLOBAL i16*)p)[i] = (i16)v;
  else ((GLOBAL u8*)p)[i] = (u8)v;
}

// Integers wrap, and a divisor of zero gives 0.
#define INTEGERS(T, U, MIN) \
DEVICE T add_##T(T a, T b) { return (T)((U)a + (U)b); } \
DEVICE T sub_##T(T a, T b) { return (T)((U)a - (U)b); } \
DEVICE T mul_##T(T a, T b) { return (T)((U)a * (U)b); } \
DEVICE T neg_##T(T a) { return (T)((U)0 - (U)a); } \
DEVICE T div_##T(T a, T b) { return b == 0 ? 0 : b == -1 ? neg_##T(a) : a / b; } \
DEVICE T rem_##T(T a, T b) { return b == 0 || b == -1 ? 0 : a % b; } \
DEVICE T abs_##T(T a) { return a < 0 ? neg_##T(a) : a; } \
DEVICE T pow_##T(T a, T b) { \
  if (b < 0) return a == 1 ? 1 : a == -1 ? ((b & 1) == 0 ? 1 : -1) : 0; \
  T r = 1; \
  while (b > 0) { if (b & 1) r = mul_##T(r, a); a = mul_##T(a, a); b >>= 1; } \
  return r; \
}
INTEGERS(i32, u32, 0)
INTEGERS(i64, u64, 0)

// Floats to integers truncate and saturate; NaN gives 0.
#define SATURATE(F) \
DEVICE i32 to_i32_##F(F x) { \
  return x != x ? 0 : x >= (F)2147483648.0f ? 2147483647 : x < (F)-2147483648.0f ? (i32)0x80000000 : (i32)x; } \
DEVICE i64 to_i64_##F(F x) { \
  return x != x ? 0 : x >= (F)9223372036854775808.0f ? (i64)0x7fffffffffffffffUL \
    : x < (F)-9223372036854775808.0f ? (i64)0x8000000000000000UL : (i64)x; }
SATURATE(f32)
#ifdef HAS_F64
SATURATE(f64)
#endif

// Drivers may be an ulp off where tanh has become 1.
DEVICE f32 tanh_f32(f32 x) { return x > 10 ? 1 : x < -10 ? -1 : tanh(x); }
#ifdef HAS_F64
DEVICE f64 tanh_f64(f64 x) { return x > 20 ? 1 : x < -20 ? -1 : tanh(x); }
#endif

// Philox 4x32-10; see tensor-core/src/philox.rs.
typedef struct { u32 word[4]; } Words;
DEVICE Words philox(u64 seed, u64 stream, u64 number) {
  u32 c0 = (u32)number, c1 = (u32)(number >> 32), c2 = (u32)stream, c3 = (u32)(stream >> 32);
  u32 k0 = (u32)seed, k1 = (u32)(seed >> 32);
  for (int i = 0; i < 10; ++i) {
    u64 a = (u64)0xD2511F53u * c0, b = (u64)0xCD9E8D57u * c2;
    u32 n0 = (u32)(b >> 32) ^ c1 ^ k0, n2 = (u32)(a >> 32) ^ c3 ^ k1;
    c1 = (u32)b; c3 = (u32)a; c0 = n0; c2 = n2;
    k0 += 0x9E3779B9u; k1 += 0xBB67AE85u;
  }
  Words words;
  words.word[0] = c0; words.word[1] = c1; words.word[2] = c2; words.word[3] = c3;
  return words;
}
DEVICE f32 uniform_f32(i64 seed, i64 stream, i64 index, int bits) {
  u32 word = philox((u64)seed, (u64)stream, (u64)index / 4).word[index & 3];
  return (f32)(word >> (32 - bits)) * BITS_F32((u32)(127 - bits) << 23);
}
#ifdef HAS_F64
DEVICE f64 uniform_f64(i64 seed, i64 stream, i64 index) {
  Words w = philox((u64)seed, (u64)stream, (u64)index / 2);
  int lane = (int)(index & 1) * 2;
  u64 word = (u64)w.word[lane] << 32 | w.word[lane + 1];
  return (f64)(word >> 11) * BITS_F64((u64)(1023 - 53) << 52);
}
#endif

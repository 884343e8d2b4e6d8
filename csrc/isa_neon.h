/* NEON on AArch64, where it is the baseline. */
#include <arm_neon.h>

#define XEP419_NAME "neon"
#define XEP419_FN(op) xep419_##op##_neon
#define XEP419_TARGET
#define V uint8x16_t
#define VW 16
#define V_KEEP int
#define V_LOAD(p) vld1q_u8(p)
#define V_STORE(p, x) vst1q_u8(p, x)
#define V_STREAM(p, x) vst1q_u8(p, x) /* no intrinsic for STNP; the streaming kernels are the plain ones here */
#define V_STREAM_END() ((void)0)
#define V_INVARIANT(x) 0
#define V_ROTATE(x, k) xep419_turn_neon(x)
#define V_HITS(a, b) xep419_hits_neon(a, b)
#define V_LOW_BIT(mask) ((uint32_t)__builtin_ctzll((mask) | (uint64_t)1 << 63))
#define V_EQ(x, byte) xep419_mask_neon(vceqq_u8(x, vdupq_n_u8(byte)))
#define V_MARKUP(x) xep419_class_neon(x, xep419_markup_low, xep419_markup_high)
#define V_IN(c, bits) xep419_mask_neon(vtstq_u8(c, vdupq_n_u8(bits)))
#define V_SPACE(x) \
    xep419_mask_neon(vceqq_u8(x, vqtbl1q_u8(vld1q_u8(xep419_space), vandq_u8(x, vdupq_n_u8(0x0F)))))
#define V_TOP(x) xep419_mask_neon(vcgeq_u8(x, vdupq_n_u8(0x80)))
#define V_OUTER(x) xep419_mask_neon(vcltq_s8(vreinterpretq_s8_u8(x), vdupq_n_s8(0x20)))

/* A look-up in 64 bytes that leaves x where the index is 64 or more: the table is for 0x40 to 0x7F. */
static inline uint8x16_t xep419_turn_neon(uint8x16_t x)
{
    return vqtbx4q_u8(x, vld1q_u8_x4(xep419_rotation), veorq_u8(x, vdupq_n_u8(0x40)));
}

/* One bit of each byte of a comparison's result; NEON has no movemask. */
static inline uint32_t xep419_mask_neon(uint8x16_t x)
{
    static const uint8_t bits[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t kept = vandq_u8(x, vld1q_u8(bits));
    return (uint32_t)vaddv_u8(vget_low_u8(kept)) | (uint32_t)vaddv_u8(vget_high_u8(kept)) << 8;
}

static inline uint8x16_t xep419_class_neon(uint8x16_t x, const uint8_t *low, const uint8_t *high)
{
    /* both tables answer 0 for a high nibble of 8 or more, so bytes past ASCII have no class */
    return vandq_u8(vqtbl1q_u8(vld1q_u8(low), vandq_u8(x, vdupq_n_u8(0x0F))),
                    vqtbl1q_u8(vld1q_u8(high), vshrq_n_u8(x, 4)));
}

static inline uint32_t xep419_hits_neon(uint8x16_t a, uint8x16_t b)
{
    return xep419_mask_neon(vtstq_u8(xep419_class_neon(a, xep419_first_low, xep419_first_high),
                                     xep419_class_neon(b, xep419_second_low, xep419_second_high)));
}

#include "kernels.h"

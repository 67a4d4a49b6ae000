/* Rounding to each element type, against hand-worked values. */
#include "ir/type.h"
#include "check.h"

#include <math.h>

int main(void)
{
    CHECK(element_round(ELEMENT_F16, 65504) == 65504);
    CHECK(element_round(ELEMENT_F16, 65519.9) == 65504);
    CHECK(isinf(element_round(ELEMENT_F16, 65520)));
    CHECK(element_round(ELEMENT_F16, 2049) == 2048);
    CHECK(element_round(ELEMENT_F16, 2051) == 2052);
    CHECK(element_round(ELEMENT_F16, ldexp(1, -24)) == ldexp(1, -24));
    CHECK(element_round(ELEMENT_F16, ldexp(1, -25)) == 0);
    CHECK(element_round(ELEMENT_F16, ldexp(1.5, -25)) == ldexp(1, -24));
    CHECK(element_round(ELEMENT_BF16, 257) == 256);
    CHECK(element_round(ELEMENT_BF16, 259) == 260);
    CHECK(element_round(ELEMENT_BF16, ldexp(1, -133)) == ldexp(1, -133));
    CHECK(element_round(ELEMENT_F32, 16777217) == 16777216);
    CHECK(element_round(ELEMENT_F32, (double)0.1f) == (double)0.1f);
    CHECK(isinf(element_round(ELEMENT_F32, 3.5e38)));
    CHECK(isnan(element_round(ELEMENT_BF16, NAN)));
    CHECK(signbit(element_round(ELEMENT_F16, -1e-9)));
    CHECK(element_round(ELEMENT_U8, 300) == 255 && element_round(ELEMENT_U8, -1.5) == 0);
    CHECK(element_round(ELEMENT_BOOL, -2) == 1);
    return check_result();
}

"""Elementary functions as branch-free polynomials (plumbing).

They vectorise, which calls of the C library do not, and they give the same bits on every machine.
The coefficients are Chebyshev fits computed with 40 digits; each error bound is tested.
"""

import numpy as np

from neurosim.jit import kernel

LOG2_E = 1.4426950408889634
LN2_HIGH = 0.6931467056274414  # ln 2 split in two, so that k * LN2_HIGH is exact
LN2_LOW = 4.7493250390316726e-07
LARGEST_EXPONENT = 709.0
SMALLEST_EXPONENT = -230.0  # the cube of e**-230 is still a normal number; others cost 100 x


@kernel
def exp(x):
    """e**x to 2 ulp; x is held within [-230, 709]; nan stays nan."""
    x = SMALLEST_EXPONENT if x < SMALLEST_EXPONENT else x
    x = LARGEST_EXPONENT if x > LARGEST_EXPONENT else x
    k = np.floor(x * LOG2_E + 0.5)
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    q = 2.763263963904103e-07 + r * 2.5110037605963777e-08
    q = 2.755724091857897e-06 + r * q
    q = 2.4801485482328494e-05 + r * q
    q = 0.00019841269890047113 + r * q
    q = 0.0013888888952314775 + r * q
    q = 0.008333333333319601 + r * q
    q = 0.0416666666664881 + r * q
    q = 0.1666666666666668 + r * q
    q = 0.5000000000000019 + r * q
    q = 1.0 + r * (1.0 + r * q)
    return q * np.int64((np.int64(k) + 1023) << 52).view(np.float64)  # q * 2**k


@kernel
def log1p(t):
    """log(1 + t) for t in [0, 1] to 3 ulp, as 2 atanh(t / (2 + t))."""
    s = t / (2.0 + t)
    u = s * s
    q = 0.04940394524382393 + u * 0.08890381913056651
    q = 0.06795652742789947 + u * q
    q = 0.07681838124445817 + u * q
    q = 0.09091429900236955 + u * q
    q = 0.11111095430673142 + u * q
    q = 0.1428571455582858 + u * q
    q = 0.199999999976438 + u * q
    q = 0.33333333333341286 + u * q
    return 2.0 * s + (2.0 * s) * (u * q)


@kernel
def log(x):
    """Natural logarithm of a positive normal number, to 3 ulp away from 1."""
    bits = np.float64(x).view(np.int64)
    k = (bits - 0x3FE6A09E667F3BCD) >> 52  # x = 2**k * m with m in [sqrt(1/2), sqrt(2))
    m = np.int64(bits - (k << 52)).view(np.float64)
    s = (m - 1.0) / (m + 1.0)
    u = s * s
    q = 0.1531252814836419 + u * 0.14809710360655276
    q = 0.18183631680229329 + u * q
    q = 0.22222197056726048 + u * q
    q = 0.2857142876064168 + u * q
    q = 0.3999999999930234 + u * q
    q = 0.6666666666666765 + u * q
    return k * LN2_HIGH + (2.0 * s + (s * (u * q) + k * LN2_LOW))


@kernel
def cos_2pi(x):
    """cos(2 pi x) for x in [0, 1], to 1e-15."""
    w = 0.25 - np.abs(x - 0.5)  # cos(2 pi x) = -sin(2 pi w), w in [-1/4, 1/4]
    u = w * w
    q = -0.7177337921413454 + u * 0.10089695501646812
    q = 3.8199280942271643 + u * q
    q = -15.0946416761179 + u * q
    q = 42.058693925428685 + u * q
    q = -76.70585975282492 + u * q
    q = 81.60524927607362 + u * q
    q = -41.341702240399755 + u * q
    q = 6.283185307179586 + u * q
    return -(w * q)

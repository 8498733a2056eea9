"""Explicit Runge–Kutta methods as data: adding a method to the library means adding one table here.

The coefficients are those of Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I* (1993), sections
II.1, II.2, II.4–II.6 and II.10, or of the paper that a table names as its source. All pairs carry the solution of
the higher order (*local extrapolation*): the estimate is of the error of the lower one.
"""

import math

from ndelib.solvers.steps.butcher import ButcherTableau, Row


def _minus(b: Row, b_hat: Row) -> Row:
    """Return ``b − b̂``, the weights of the error estimate."""
    return tuple(weight - lower for weight, lower in zip(b, b_hat, strict=True))


def _dense(b: Row, f1: int, *d: Row) -> tuple[Row, ...]:
    """Return the continuous extension with the stage weights ``d``, in powers of θ.

    Every C¹ extension of degree 4 or more is cubic Hermite interpolation plus terms with a double zero at both ends
    (Hairer, Nørsett & Wanner I, section II.6):

        u(θ) = y + θ (Δ + (1−θ)(h f₀ − Δ + θ (2Δ − h f₀ − h f₁ + (1−θ)(D₁ + θ (D₂ + (1−θ)(D₃ + …))))))

    with Δ = y₁ − y = h Σ bᵢ kᵢ and Dₘ = h Σ dᵢ kᵢ over row m of ``d``. A row has the length of all stages of dense
    output; stage ``f1`` of them is f(t + h, y₁).
    """
    size = len(d) + 3
    basis = [[1] + [0] * (size - 1)]  # coefficients of θ, θ², … in the factors of Δ, h f₀ − Δ, 2Δ − h f₀ − h f₁, D₁, …
    for m in range(size - 1):
        times_theta = [0, *basis[-1][:-1]]
        basis.append(times_theta if m % 2 else [x - y for x, y in zip(basis[-1], times_theta, strict=True)])
    rows = []
    for i, extra in enumerate(zip(*d, strict=True)):
        weight, at_start, at_end = b[i] if i < len(b) else 0.0, float(i == 0), float(i == f1)
        terms = (weight, at_start - weight, 2 * weight - at_start - at_end, *extra)
        rows.append(tuple(math.fsum(w * p[j] for w, p in zip(terms, basis, strict=True)) for j in range(size)))
    return tuple(rows)


EULER = ButcherTableau("euler", 1, c=(0.0,), a=((),), b=(1.0,), source="Euler (1768)")

MIDPOINT = ButcherTableau("midpoint", 2, c=(0.0, 1 / 2), a=((), (1 / 2,)), b=(0.0, 1.0), source="Runge (1895)")

# Heun's and Ralston's methods begin with a step of Euler's, which is the lower method of the pair: b̂ = (1, 0).
HEUN2 = ButcherTableau(
    "heun2",
    2,
    c=(0.0, 1.0),
    a=((), (1.0,)),
    b=(1 / 2, 1 / 2),
    b_error=(-1 / 2, 1 / 2),
    error_order=1,
    source="Heun (1900)",
)

RALSTON = ButcherTableau(
    "ralston",
    2,
    c=(0.0, 2 / 3),
    a=((), (2 / 3,)),
    b=(1 / 4, 3 / 4),
    b_error=(-3 / 4, 3 / 4),
    error_order=1,
    source="Ralston (1962)",
)

# Its dense output is the library's cubic Hermite interpolation, of order 3, as in the authors' own code.
BOSH3 = ButcherTableau(
    "bosh3",
    3,
    c=(0.0, 1 / 2, 3 / 4, 1.0),
    a=((), (1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
    b=(2 / 9, 1 / 3, 4 / 9, 0.0),
    b_error=_minus((2 / 9, 1 / 3, 4 / 9, 0.0), (7 / 24, 1 / 4, 1 / 3, 1 / 8)),
    error_order=2,
    source="Bogacki & Shampine (1989), A 3(2) pair of Runge–Kutta formulas",
)

RK4 = ButcherTableau(
    "rk4",
    4,
    c=(0.0, 1 / 2, 1 / 2, 1.0),
    a=((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    b=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
    source="Kutta (1901)",
)

RK4_38 = ButcherTableau(
    "rk4_38",
    4,
    c=(0.0, 1 / 3, 2 / 3, 1.0),
    a=((), (1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)),
    b=(1 / 8, 3 / 8, 3 / 8, 1 / 8),
    source="Kutta (1901), the 3/8 rule",
)

# Fehlberg carried the solution of order 4; as everywhere here, the one of order 5 is carried. He gave no dense output.
# Ours is the C¹ quartic of `_dense` over the six stages and f(t + h, y₁). Hermite's cubic is exact up to θ³, and θ⁴
# exceeds it by θ²(1−θ)². So the quartic has order 4 if and only if, over these seven slopes, Σ dᵢ Φᵢ is 0 for the
# trees of orders 1 to 3 and 1/γ for those of order 4. Its solutions are a line, d₆ any number. The error of order 5, as
# the sum over its trees of ((Σ dᵢ Φᵢ − (2+θ)/γ) / σ)² at θ = 1/2, is least for d₆ = −1.76; −2 is near it, and simple.
_FEHLBERG_B = (16 / 135, 0.0, 6656 / 12825, 28561 / 56430, -9 / 50, 2 / 55)
FEHLBERG45 = ButcherTableau(
    "fehlberg45",
    5,
    c=(0.0, 1 / 4, 3 / 8, 12 / 13, 1.0, 1 / 2),
    a=(
        (),
        (1 / 4,),
        (3 / 32, 9 / 32),
        (1932 / 2197, -7200 / 2197, 7296 / 2197),
        (439 / 216, -8.0, 3680 / 513, -845 / 4104),
        (-8 / 27, 2.0, -3544 / 2565, 1859 / 4104, -11 / 40),
    ),
    b=_FEHLBERG_B,
    b_error=_minus(_FEHLBERG_B, (25 / 216, 0.0, 1408 / 2565, 2197 / 4104, -1 / 5, 0.0)),
    error_order=4,
    dense=_dense(_FEHLBERG_B, 6, (-7 / 8, 0.0, 1024 / 285, -2197 / 456, 8 / 5, -2.0, 5 / 2)),
    source="Fehlberg (1969), NASA TR R-315, formula RK4(5)",
)

_DOPRI5_B = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0)
DOPRI5 = ButcherTableau(
    "dopri5",
    5,
    c=(0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
    a=(
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        _DOPRI5_B[:-1],
    ),
    b=_DOPRI5_B,
    b_error=_minus(_DOPRI5_B, (5179 / 57600, 0.0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40)),
    error_order=4,
    # Shampine (1986), of order 4; in this form in Hairer's code DOPRI5.
    dense=_dense(
        _DOPRI5_B,
        6,
        (
            -12715105075 / 11282082432,
            0.0,
            87487479700 / 32700410799,
            -10690763975 / 1880347072,
            701980252875 / 199316789632,
            -1453857185 / 822651844,
            69997945 / 29380423,
        ),
    ),
    source="Dormand & Prince (1980), A family of embedded Runge–Kutta formulae",
)

# fmt: off
_TSIT5_B = (
    0.09646076681806522952, 1 / 100, 0.47988965041449957478,
    1.3790085741037418932, -3.2900695154360806799, 2.3247105240997739824, 0.0,
)
TSIT5 = ButcherTableau(
    "tsit5",
    5,
    c=(0.0, 0.161, 0.327, 0.9, 0.98002554090450968573, 1.0, 1.0),
    a=(
        (),
        (0.161,),
        (-0.0084806554923569885443, 0.33548065549235698854),
        (2.8971530571054934321, -6.3594484899750748431, 4.3622954328695814110),
        (5.3258648284392566044, -11.748883564062827878, 7.4955393428898362083, -0.092495066361755249257),
        (5.8614554429464200287, -12.920969317847109292, 8.1593678985761586432, -0.071584973281400997225,
         -0.028269050394068382909),
        _TSIT5_B[:-1],
    ),
    b=_TSIT5_B,
    b_error=_minus(
        _TSIT5_B,
        (0.094680755765839458079, 0.0091835655403432530968, 0.48777052842476157079,
         1.2342975669304789857, -2.7077123499835254549, 1.8666284181705870358, 1 / 66),
    ),
    error_order=4,
    # The paper's interpolant, of order 4: these are its coefficients of θ⁴, and its others follow from b and C¹.
    dense=_dense(
        _TSIT5_B,
        6,
        (-1.0530884977290216, 0.1017, 2.490627285651252793,
         -16.54810288924490272, 47.37952196281928122, -34.87065786149660974, 5 / 2),
    ),
    source="Tsitouras (2011), Runge–Kutta pairs of order 5(4) satisfying only the first column simplifying assumption",
)

# DOP853. Two estimates, of orders 5 and 3, are combined into e₅ |e₅| / hypot(e₅, e₃ / 10), which behaves like
# h⁶ h⁶ / h⁴ = h⁸. The continuous extension, of order 7, needs f(t + h, y₁) and three more stages. The digits are those
# of the authors' code, rounded to double precision.
_DOPRI8_B = (
    0.054293734116568765, 0.0, 0.0, 0.0, 0.0, 4.450312892752409, 1.8915178993145003, -5.801203960010585,
    0.3111643669578199, -0.1521609496625161, 0.20136540080403034, 0.04471061572777259,
)
DOPRI8 = ButcherTableau(
    "dopri8",
    8,
    # c₂ = (12 − 2√6)/135, c₃ = (6 − √6)/45, c₄ = (6 − √6)/30, c₅ = (6 + √6)/30
    c=(0.0, 0.05260015195876773, 0.0789002279381516, 0.1183503419072274, 0.2816496580927726,
       1 / 3, 1 / 4, 4 / 13, 127 / 195, 3 / 5, 6 / 7, 1.0),
    a=(
        (),
        (0.05260015195876773,),
        (0.0197250569845379, 0.0591751709536137),
        (0.02958758547680685, 0.0, 0.08876275643042054),
        (0.2413651341592667, 0.0, -0.8845494793282861, 0.924834003261792),
        (0.037037037037037035, 0.0, 0.0, 0.17082860872947386, 0.12546768756682242),
        (0.037109375, 0.0, 0.0, 0.17025221101954405, 0.06021653898045596, -0.017578125),
        (0.03709200011850479, 0.0, 0.0, 0.17038392571223998, 0.10726203044637328, -0.015319437748624402,
         0.008273789163814023),
        (0.6241109587160757, 0.0, 0.0, -3.3608926294469414, -0.868219346841726, 27.59209969944671,
         20.154067550477894, -43.48988418106996),
        (0.47766253643826434, 0.0, 0.0, -2.4881146199716677, -0.590290826836843, 21.230051448181193,
         15.279233632882423, -33.28821096898486, -0.020331201708508627),
        (-0.9371424300859873, 0.0, 0.0, 5.186372428844064, 1.0914373489967295, -8.149787010746927,
         -18.52006565999696, 22.739487099350505, 2.4936055526796523, -3.0467644718982196),
        (2.273310147516538, 0.0, 0.0, -10.53449546673725, -2.0008720582248625, -17.9589318631188, 27.94888452941996,
         -2.8589982771350235, -8.87285693353063, 12.360567175794303, 0.6433927460157636),
    ),
    b=_DOPRI8_B,
    b_error=(
        0.01312004499419488, 0.0, 0.0, 0.0, 0.0, -1.2251564463762044, -0.4957589496572502, 1.6643771824549864,
        -0.35032884874997366, 0.3341791187130175, 0.08192320648511571, -0.022355307863886294,
    ),
    b_error_low=_minus(
        _DOPRI8_B,
        (31 / 127, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.733846688281611857341361741547, 0.0, 0.0, 3 / 136),
    ),
    error_order=7,
    dense=_dense(
        _DOPRI8_B,
        12,
        (-8.428938276109013, 0.0, 0.0, 0.0, 0.0, 0.5667149535193777, -3.0689499459498917, 2.38466765651207,
         2.117034582445028, -0.871391583777973, 2.2404374302607883, 0.6315787787694688, -0.08899033645133331,
         18.148505520854727, -9.194632392478356, -4.436036387594894),
        (10.427508642579134, 0.0, 0.0, 0.0, 0.0, 242.28349177525817, 165.20045171727028, -374.5467547226902,
         -22.113666853125306, 7.733432668472264, -30.674084731089398, -9.332130526430229, 15.697238121770845,
         -31.139403219565178, -9.35292435884448, 35.81684148639408),
        (19.985053242002433, 0.0, 0.0, 0.0, 0.0, -387.0373087493518, -189.17813819516758, 527.8081592054236,
         -11.57390253995963, 6.8812326946963, -1.0006050966910838, 0.7777137798053443, -2.778205752353508,
         -60.19669523126412, 84.32040550667716, 11.99229113618279),
        (-25.69393346270375, 0.0, 0.0, 0.0, 0.0, -154.18974869023643, -231.5293791760455, 357.6391179106141,
         93.40532418362432, -37.45832313645163, 104.0996495089623, 29.8402934266605, -43.53345659001114,
         96.32455395918828, -39.17726167561544, -149.72683625798564),
    ),
    extra_c=(1 / 10, 1 / 5, 7 / 9),
    extra_a=(
        (0.056167502283047954, 0.0, 0.0, 0.0, 0.0, 0.0, 0.25350021021662483, -0.2462390374708025,
         -0.12419142326381637, 0.15329179827876568, 0.00820105229563469, 0.007567897660545699, -0.008298),
        (0.03183464816350214, 0.0, 0.0, 0.0, 0.0, 0.028300909672366776, 0.053541988307438566, -0.05492374857139099,
         0.0, 0.0, -0.00010834732869724932, 0.0003825710908356584, -0.00034046500868740456, 0.1413124436746325),
        (-0.42889630158379194, 0.0, 0.0, 0.0, 0.0, -4.697621415361164, 7.683421196062599, 4.06898981839711,
         0.3567271874552811, 0.0, 0.0, 0.0, -0.0013990241651590145, 2.9475147891527724, -9.15095847217987),
    ),
    source="Dormand & Prince (1989); Hairer, Nørsett & Wanner (1993), code DOP853 (torchdiffeq's dopri8 is another)",
)
# fmt: on

_ALL = (EULER, MIDPOINT, HEUN2, RALSTON, BOSH3, RK4, RK4_38, FEHLBERG45, DOPRI5, TSIT5, DOPRI8)
TABLEAUS = {tableau.name: tableau for tableau in _ALL}

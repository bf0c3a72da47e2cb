/* A loop in C that steps with NAdam; compile with
 *     gcc -O2 -shared -fPIC -I<embed.include_folder()> descend.c -o descend.so
 */
#include <stdlib.h>

#include "nadam_numba.h"

static double rosenbrock(int64_t n, const double *x, double *gradient)
{
    double value = 0.0;
    for (int64_t i = 0; i < n; i++)
        gradient[i] = 0.0;
    for (int64_t i = 0; i + 1 < n; i++) {
        double bend = x[i + 1] - x[i] * x[i], slack = 1.0 - x[i];
        value += 100.0 * bend * bend + slack * slack;
        gradient[i] += -400.0 * bend * x[i] - 2.0 * slack;
        gradient[i + 1] += 200.0 * bend;
    }
    return value;
}

/* Makes steps from x, which is overwritten; returns the last value, or -1 if it cannot begin. */
double descend(nadam_init_function init, nadam_step_function step, int64_t n, double *x, double learning_rate,
               int64_t steps)
{
    nadam_state state;
    double *arrays = calloc(3 * (size_t)n, sizeof(double)), value = -1.0;
    if (arrays && init(&state, learning_rate, 0.9, 0.999, 1e-8, 4e-3) == 0) {
        for (int64_t k = 0; k < steps; k++) {
            rosenbrock(n, x, arrays);
            step(&state, n, x, arrays, arrays + n, arrays + 2 * n);
        }
        value = rosenbrock(n, x, arrays);
    }
    free(arrays);
    return value;
}

/* A step of NAdam as one writes it in C, for the comparison of speed. TYPE and ROOT are given by the compiler's
   command line: float and sqrtf, or double and sqrt. */
#include <math.h>

/* numbers: learning rate, beta 1, beta 2, epsilon, momentum decay; and, kept from step to step: the number of steps made
   and the product of the momentum coefficients. */
void step(long count, const long *sizes, TYPE **parameters, TYPE **first_moments, TYPE **second_moments,
          TYPE **gradients, double *numbers)
{
    double rate = numbers[0], beta_1 = numbers[1], beta_2 = numbers[2], decay = numbers[4];
    double t = numbers[5] += 1.0;
    double mu = beta_1 * (1.0 - 0.5 * pow(0.96, t * decay));
    double mu_next = beta_1 * (1.0 - 0.5 * pow(0.96, (t + 1.0) * decay));
    double product = numbers[6] *= mu;
    const TYPE b1 = beta_1, b2 = beta_2, rest_1 = 1.0 - beta_1, rest_2 = 1.0 - beta_2, epsilon = numbers[3];
    const TYPE of_gradient = rate * (1.0 - mu) / (1.0 - product);
    const TYPE of_moment = rate * mu_next / (1.0 - product * mu_next);
    const TYPE correction = 1.0 / (1.0 - pow(beta_2, t));

    for (long k = 0; k < count; k++) {
        TYPE *restrict p = parameters[k], *restrict m = first_moments[k], *restrict v = second_moments[k];
        const TYPE *restrict g = gradients[k];
        long size = sizes[k];
#ifdef THREADS
#pragma omp parallel for num_threads(THREADS) schedule(static) if (size >= 65536)
#endif
        for (long i = 0; i < size; i++) {
            m[i] = b1 * m[i] + rest_1 * g[i];
            v[i] = b2 * v[i] + rest_2 * g[i] * g[i];
            p[i] -= (of_gradient * g[i] + of_moment * m[i]) / (ROOT(v[i] * correction) + epsilon);
        }
    }
}

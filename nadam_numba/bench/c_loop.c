/* A step of NAdam as one writes it in C, for the comparison of speed. TYPE and ROOT are given by the compiler's
   command line: float and sqrtf, or double and sqrt. */
#include <math.h>

/* The weights of a step: beta 1, 1 - beta 1, beta 2, 1 - beta 2, epsilon, and those of the gradient and of both
   moments. */
struct weights {
    TYPE b1, rest_1, b2, rest_2, epsilon, of_gradient, of_moment, correction;
};

static void update(long size, TYPE *restrict p, TYPE *restrict m, TYPE *restrict v, const TYPE *restrict g,
                   struct weights w)
{
    for (long i = 0; i < size; i++) {
        m[i] = w.b1 * m[i] + w.rest_1 * g[i];
        v[i] = w.b2 * v[i] + w.rest_2 * g[i] * g[i];
        p[i] -= (w.of_gradient * g[i] + w.of_moment * m[i]) / (ROOT(v[i] * w.correction) + w.epsilon);
    }
}

/* numbers: learning rate, beta 1, beta 2, epsilon, momentum decay; and, kept from step to step: the number of steps
   made and the product of the momentum coefficients. */
void step(long count, const long *sizes, TYPE **parameters, TYPE **first_moments, TYPE **second_moments,
          TYPE **gradients, double *numbers)
{
    double rate = numbers[0], beta_1 = numbers[1], beta_2 = numbers[2], decay = numbers[4];
    double t = numbers[5] += 1.0;
    double mu = beta_1 * (1.0 - 0.5 * pow(0.96, t * decay));
    double mu_next = beta_1 * (1.0 - 0.5 * pow(0.96, (t + 1.0) * decay));
    double product = numbers[6] *= mu;
    struct weights w = {beta_1, 1.0 - beta_1, beta_2, 1.0 - beta_2, numbers[3],
                        rate * (1.0 - mu) / (1.0 - product),
                        rate * mu_next / (1.0 - product * mu_next),
                        1.0 / (1.0 - pow(beta_2, t))};

    for (long k = 0; k < count; k++) {
        TYPE *p = parameters[k], *m = first_moments[k], *v = second_moments[k], *g = gradients[k];
        long size = sizes[k];
#ifdef THREADS
        /* To enter a parallel region costs more than a short array. */
        if (size >= 65536) {
            long part = (size + THREADS - 1) / THREADS;
#pragma omp parallel for num_threads(THREADS) schedule(static, 1)
            for (long thread = 0; thread < THREADS; thread++) {
                long start = thread * part, length = size - start < part ? size - start : part;
                update(length, p + start, m + start, v + start, g + start, w);
            }
            continue;
        }
#endif
        update(size, p, m, v, g, w);
    }
}

/* NAdam from C, C++ and Fortran: the types of the functions whose addresses nadam_numba.embed.c_functions() tells.
 *
 * The functions are compiled by Numba while Python runs: hand their addresses over, as arguments for instance. They
 * keep nothing between calls, allocate nothing, and may be called from any thread, with another state in each.
 */
#ifndef NADAM_NUMBA_H
#define NADAM_NUMBA_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The numbers of a state, 56 bytes. learning_rate may be overwritten between steps. A copy of it, with copies of the
 * moments, goes on exactly where the original was. */
typedef struct {
    int64_t iterations;
    double mu_product;
    double learning_rate, beta_1, beta_2, epsilon, momentum_decay;
} nadam_state;

/* Begin. Returns 0, or the place of the argument that is out of range (2 for learning_rate, ... 6 for momentum_decay),
 * and leaves the state untouched then. The moments, n numbers each, are to be set to 0 by the caller.
 * The defaults elsewhere: 2e-3, 0.9, 0.999, 1e-8, 4e-3. */
typedef int64_t (*nadam_init_function)(nadam_state *state, double learning_rate, double beta_1, double beta_2,
                                       double epsilon, double momentum_decay);

/* Make one step: x, state and both moments are overwritten; gradient is read. None of the arrays of n numbers may
 * overlap another. */
typedef void (*nadam_step_function)(nadam_state *state, int64_t n, double *x, const double *gradient,
                                    double *first_moment, double *second_moment);
typedef void (*nadam_step_float_function)(nadam_state *state, int64_t n, float *x, const float *gradient,
                                          float *first_moment, float *second_moment);

#ifdef __cplusplus
}
#endif

#endif

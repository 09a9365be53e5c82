/* Does this build, on this chip, compute what the exporter's machine computed? Run it at start, or on the bench. */
#ifndef FEDTINY_SELFTEST_H
#define FEDTINY_SELFTEST_H

#include "fedtiny.h"
#include "fedtiny_golden.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The network to the bit, and the features. It works in the buffers of watch: call it before fedtiny_start. */
fedtiny_status fedtiny_selftest(const fedtiny_watch *watch, const fedtiny_golden *golden);

#ifdef __cplusplus
}
#endif

#endif

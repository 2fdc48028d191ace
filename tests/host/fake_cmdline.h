/* SPDX-License-Identifier: MIT */
/* The options of Quire's command line, for a test to set. */
#ifndef TESTS_HOST_FAKE_CMDLINE_H
#define TESTS_HOST_FAKE_CMDLINE_H

#include "kernel/cmdline.h"

/* What options() returns. */
extern struct options fake_options;

#endif

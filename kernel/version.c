/* SPDX-License-Identifier: MIT */
/* The only file that a new version rebuilds. */
#include "version.h"

const char *const quire_version = QUIRE_VERSION;

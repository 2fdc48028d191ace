/* SPDX-License-Identifier: MIT */
#include "version.h"

const char *const quire_version = QUIRE_VERSION;

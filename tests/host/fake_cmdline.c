/* SPDX-License-Identifier: MIT */
#include "fake_cmdline.h"

struct options fake_options;

const struct options *options(void)
{
	return &fake_options;
}

/* SPDX-License-Identifier: MIT */
#include "fake_power.h"

#include <stdio.h>

#include <quire/assert.h>

#include "kernel/power.h"

#include "fake_thread.h"
#include "seam/seam.h"

jmp_buf *fake_power_return;
static char ending[16];

static Q_NORETURN void run_end(void)
{
	Q_ASSERT(fake_locks_held() == 0);
	if (!fake_thread_is_test())
		fake_threads_stop();
	Q_ASSERT(fake_power_return);
	longjmp(*fake_power_return, 1);
}

void power_off(enum exit_status status)
{
	Q_ASSERT(!ending[0]);
	snprintf(ending, sizeof(ending), "off %d", status);
	run_end();
}

void power_halt(enum exit_status status)
{
	Q_ASSERT(!ending[0]);
	snprintf(ending, sizeof(ending), "halt %d", status);
	run_end();
}

void power_reboot(void)
{
	Q_ASSERT(!ending[0]);
	snprintf(ending, sizeof(ending), "reboot");
	run_end();
}

const char *fake_power(void)
{
	return ending;
}

void fake_power_on(void)
{
	ending[0] = 0;
	fake_power_return = NULL;
}

/* SPDX-License-Identifier: MIT */
/* How many sharing groups there can be. Names are never forgotten, so this program has one test. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

#include "lib/error_text.h"
#include "operator/config.h"

#define GROUPS 64u

static q_status_t complete_with(const char *share, share_group_t *out_group)
{
	struct config_vm vm;
	struct error_text error;
	EXPECT(config_vm_init(&vm, "a", &error) == Q_OK);
	EXPECT(config_vm_set(&vm, "kernel", "k", &error) == Q_OK);
	EXPECT(config_vm_set(&vm, "memory", "1M", &error) == Q_OK);
	EXPECT(config_vm_set(&vm, "share", share, &error) == Q_OK);
	q_status_t status = config_vm_complete(&vm, &error);
	*out_group = vm.config.share_group;
	return status;
}

TEST(config_groups, the_65th_sharing_group_is_refused)
{
	static char text[(GROUPS + 1) * 64];
	struct config_vm *vms = malloc((GROUPS + 1) * sizeof(*vms));
	struct config config = { .vms = vms, .vm_max = GROUPS + 1 };
	struct error_text error;
	share_group_t group;
	size_t used = 0;

	for (unsigned i = 0; i <= GROUPS; i++)
		used += (size_t)sprintf(text + used,
					"[vm v%u]\nkernel = k\nmemory = 1M\nshare = g%u\n", i, i);
	EXPECT(config_parse(text, used, &config, &error) == Q_LIMIT);
	assert_string_equal(error.text, "quire.conf:257: vm v64: share = g64: there are 64 sharing "
					"groups already");
	for (unsigned i = 0; i < GROUPS; i++) {
		char name[8];
		EXPECT(vms[i].config.share_group == i + 1);
		snprintf(name, sizeof(name), "g%u", i);
		EXPECT(complete_with(name, &group) == Q_OK && group == i + 1);
	}
	EXPECT(complete_with("g64", &group) == Q_LIMIT);
	EXPECT(complete_with("none", &group) == Q_OK && group == SHARE_GROUP_NONE);
	free(vms);
}

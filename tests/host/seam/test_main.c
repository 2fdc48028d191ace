/* SPDX-License-Identifier: MIT */
/* Runs the tests that the TEST() blocks of a program put into section quire_tests. */
#include <stdlib.h>
#include <string.h>

#include "test.h"

/* Empty in fuzzers, which have a main() of their own. */
extern const struct CMUnitTest __start_quire_tests[] __attribute__((weak));
extern const struct CMUnitTest __stop_quire_tests[] __attribute__((weak));

__attribute__((weak)) int main(int argc, char **argv)
{
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	size_t count = (size_t)(__stop_quire_tests - __start_quire_tests);
	struct CMUnitTest *tests = calloc(count, sizeof(*tests));
	memcpy(tests, __start_quire_tests, count * sizeof(*tests));
	int failed = _cmocka_run_group_tests("quire", tests, count, NULL, NULL);
	free(tests);
	return failed != 0;
}

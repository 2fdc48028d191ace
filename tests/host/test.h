/* SPDX-License-Identifier: MIT */
/*
 * TEST(module, sentence) { ... } registers a test with cmocka through a linker
 * section; seam/test_main.c runs them all. cmocka's assert_* or EXPECT() fail it.
 */
#ifndef TESTS_HOST_TEST_H
#define TESTS_HOST_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TEST(module, sentence)                                                                 \
	static void test_##module##_##sentence(void **state);                                  \
	static const struct CMUnitTest entry_##module##_##sentence                             \
		__attribute__((used, aligned(8), section("quire_tests"))) = {                  \
			.name = #module "." #sentence, .test_func = test_##module##_##sentence \
		};                                                                             \
	static void test_##module##_##sentence(void **state __attribute__((unused)))

#define EXPECT(condition) _assert_true((condition) ? 1 : 0, #condition, __FILE__, __LINE__)

#endif

/* SPDX-License-Identifier: MIT */
/* The JSON writer: commas, escapes, and buffers that end early. */
#include <string.h>

#include "test.h"

#include "lib/json.h"

TEST(json, puts_commas_and_escapes)
{
	char buffer[128];
	struct json json;
	json_init(&json, buffer, sizeof(buffer));
	json_object_open(&json, NULL);
	json_text(&json, "a", "x\"y\\\n");
	json_array_open(&json, "b");
	json_object_open(&json, NULL);
	json_object_close(&json);
	json_number(&json, NULL, ~0ull);
	json_array_close(&json);
	json_object_close(&json);
	EXPECT(strcmp(buffer, "{\"a\":\"x\\\"y\\\\\\u000a\",\"b\":[{},18446744073709551615]}") ==
	       0);
	EXPECT(!json.is_cut);
}

TEST(json, never_passes_its_buffer)
{
	char buffer[8] = "1234567";
	struct json json;
	json_init(&json, buffer, 7);
	json_text(&json, NULL, "a long text");
	EXPECT(json.is_cut && strlen(buffer) == 6 && buffer[7] == 0);
}

TEST(json, goes_on_after_take)
{
	char buffer[16];
	struct json json;
	size_t count;
	json_init(&json, buffer, sizeof(buffer));
	json_array_open(&json, NULL);
	json_number(&json, NULL, 1);
	EXPECT(strcmp(json_take(&json, &count), "[1") == 0 && count == 2);
	json_number(&json, NULL, 2);
	EXPECT(strcmp(json_take(&json, &count), ",2") == 0 && count == 2);
}

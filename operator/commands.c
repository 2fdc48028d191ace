/* SPDX-License-Identifier: MIT */
#include "operator/commands.h"

#include "lib/format.h"
#include "lib/string.h"
#include "kernel/console.h"

static void command_help(const struct command_words *words);
static command_candidate_t command_candidate;

static const struct command help_rows[] = {
	{ "help", "[COMMAND]", "this list, or one command explained", command_help,
	  command_candidate, NULL },
};
static const struct command_table commands_help = { help_rows, ARRAY_COUNT(help_rows) };

static const struct command_table *const tables[] = {
	&commands_life, &commands_memory, &commands_share, &commands_system, &commands_help,
};

/* --- finding ---------------------------------------------------------------------------------- */

static const struct command *command_at(unsigned index)
{
	for (unsigned i = 0; i < ARRAY_COUNT(tables); i++) {
		if (index < tables[i]->count)
			return &tables[i]->rows[index];
		index -= tables[i]->count;
	}
	return NULL;
}

static const char *command_candidate(unsigned position, unsigned index)
{
	const struct command *command = position <= 1 ? command_at(index) : NULL;
	return command ? command->name : NULL;
}

static bool begins_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

static void candidates_print(command_candidate_t *candidate, unsigned position, const char *start)
{
	const char *name;
	for (unsigned i = 0; (name = candidate(position, i)); i++)
		if (begins_with(name, start))
			console_print(" %s", name);
	console_print("\n");
}

/* Finds the command of that name, or the only one that begins so. NULL: a message said why. */
static const struct command *command_find(const char *name)
{
	const struct command *found = NULL, *command;
	unsigned count = 0;
	for (unsigned i = 0; (command = command_at(i)); i++) {
		if (strcmp(command->name, name) == 0)
			return command;
		if (begins_with(command->name, name)) {
			found = command;
			count++;
		}
	}
	if (count == 1)
		return found;
	if (count == 0) {
		console_print("there is no command '%.40s'; try help\n", name);
		return NULL;
	}
	console_print("'%s' could be any of:", name);
	candidates_print(command_candidate, 0, name);
	return NULL;
}

/* --- help ------------------------------------------------------------------------------------- */

static void help_line(const struct command *command)
{
	console_print("%-9s%-20s%s\n", command->name, command->arguments, command->help);
}

static void command_help(const struct command_words *words)
{
	const struct command *command;
	if (words->count < 2) {
		for (unsigned i = 0; (command = command_at(i)); i++)
			help_line(command);
		console_print("A command may be shortened as long as no other begins so; "
			      "Tab completes it.\n");
		return;
	}
	command = command_find(words->word[1]);
	if (!command)
		return;
	help_line(command);
	if (command->explain)
		command->explain();
}

/* --- running ---------------------------------------------------------------------------------- */

void command_run(char *text)
{
	struct command_words words;
	if (!command_words_split(text, &words)) {
		console_print("the command has more than %u words, or a quote that does not end\n",
			      COMMAND_WORD_MAX);
		return;
	}
	if (words.count == 0)
		return;
	const struct command *command = command_find(words.word[0]);
	if (!command)
		return;
	/* What a command prints begins with its name, which the operator may have shortened. */
	char name[16];
	string_copy(name, sizeof(name), command->name);
	words.word[0] = name;
	command->run(&words);
}

/* --- completing ------------------------------------------------------------------------------- */

/* The last word of a line, and the candidates for it. */
struct completion {
	const char *word;
	unsigned position; /* 0: it is the command */
	command_candidate_t *candidate;
};

static bool completion_find(const char *text, struct completion *completion)
{
	const struct command *command, *found = NULL;
	while (*text == ' ')
		text++;
	*completion = (struct completion){ .word = text, .candidate = command_candidate };
	for (const char *at = text; *at; at++) {
		if (*at != ' ')
			continue;
		/* Of several blanks the last one counts. */
		completion->word = at + 1;
		completion->position += at[1] != ' ';
	}
	if (completion->position == 0)
		return true;
	size_t length = (size_t)(strchr(text, ' ') - text);
	for (unsigned i = 0; (command = command_at(i)); i++)
		if (length && strncmp(command->name, text, length) == 0)
			found = found && found->name[length] == 0 ? found : command;
	completion->candidate = found ? found->candidate : NULL;
	return completion->candidate != NULL;
}

/* Returns how many bytes at their start are the same in both texts. */
static size_t common_length(const char *a, const char *b)
{
	size_t length = 0;
	while (a[length] && a[length] == b[length])
		length++;
	return length;
}

unsigned command_complete(const char *text, char *to_add, size_t size_bytes)
{
	struct completion completion;
	char common[64] = "";
	const char *name;
	unsigned count = 0;

	to_add[0] = 0;
	if (!completion_find(text, &completion))
		return 0;
	for (unsigned i = 0; (name = completion.candidate(completion.position, i)); i++) {
		if (!begins_with(name, completion.word))
			continue;
		if (count++ == 0)
			string_copy(common, sizeof(common), name);
		common[common_length(common, name)] = 0;
	}
	if (count == 0)
		return 0;
	bool is_whole = count == 1 && common[strlen(common) - 1] != '=';
	format_text(to_add, size_bytes, "%s%s", common + strlen(completion.word),
		    is_whole ? " " : "");
	return count;
}

void command_candidates_print(const char *text)
{
	struct completion completion;
	if (completion_find(text, &completion))
		candidates_print(completion.candidate, completion.position, completion.word);
}

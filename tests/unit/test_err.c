#include "unit.h"

#include <errno.h>

#include "base/str.h"

static void set_fills_and_returns(void **state)
{
	struct err e = { 0 };
	assert_int_equal(err_set(&e, ERR_NOT_FOUND, "stack %s", "a/b/c"), -ERR_NOT_FOUND);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_string_equal(e.message, "stack a/b/c");
	assert_int_equal(err_set(NULL, ERR_CONFLICT, "x"), -ERR_CONFLICT);
	assert_int_equal(err_nomem(&e), -ERR_NO_MEMORY);
	err_reset(&e);
	assert_int_equal(e.code, ERR_NONE);
	assert_string_equal(e.message, "");
}

static void wrap_goes_in_front(void **state)
{
	struct err e = { 0 };
	err_set(&e, ERR_IO, "disk");
	assert_int_equal(err_wrap(&e, "reading %d", 7), -ERR_IO);
	assert_string_equal(e.message, "reading 7: disk");
	/* The arguments may be the object's own text. */
	err_set(&e, ERR_CONFLICT, "again: %s", e.message);
	assert_string_equal(e.message, "again: reading 7: disk");
	assert_int_equal(err_wrap(NULL, "x"), -ERR_INTERNAL);
	err_reset(&e);
	assert_int_equal(err_wrap(&e, "x"), -ERR_INTERNAL);
}

static void errno_chooses_the_code(void **state)
{
	struct err e = { 0 };
	errno = ENOSPC;
	assert_int_equal(err_errno(&e, "write %s", "f"), -ERR_NO_SPACE);
	assert_int_equal(errno, ENOSPC);
	assert_string_equal(e.message, "write f: No space left on device");
	errno = EDQUOT;
	assert_int_equal(err_errno(&e, "w"), -ERR_NO_SPACE);
	errno = ENOMEM;
	assert_int_equal(err_errno(&e, "w"), -ERR_NO_MEMORY);
	errno = EACCES;
	assert_int_equal(err_errno(NULL, "w"), -ERR_IO);
}

static void long_messages_end_at_a_character(void **state)
{
	/* Every offset of a three-byte and a four-byte character relative to the cut. */
	static const char *const characters[] = { "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xC3\xA9", "x" };
	for (size_t c = 0; c < ARRAY_SIZE(characters); c++) {
		for (size_t shift = 0; shift < 4; shift++) {
			char text[ERR_MESSAGE_MAX * 2];
			size_t n = 0;
			memset(text, 'a', shift);
			n = shift;
			while (n + 4 < sizeof(text)) {
				memcpy(text + n, characters[c], strlen(characters[c]));
				n += strlen(characters[c]);
			}
			text[n] = '\0';
			struct err e = { 0 };
			err_set(&e, ERR_INTERNAL, "%s", text);
			assert_true(str_is_utf8(str_of(e.message)));
			assert_true(strlen(e.message) >= ERR_MESSAGE_MAX - 4);
			err_wrap(&e, "in front");
			assert_true(str_is_utf8(str_of(e.message)));
		}
	}
}

static void tables_agree(void **state)
{
	assert_int_equal(err_http_status(ERR_CONFLICT), 409);
	assert_string_equal(err_status_text(ERR_CONFLICT), "Conflict");
	assert_int_equal(err_exit_code(ERR_USAGE), 2);
	assert_int_equal(err_exit_code(ERR_NONE), 0);
	assert_int_equal(err_from_http_status(400), ERR_BAD_REQUEST);
	assert_int_equal(err_from_http_status(500), ERR_INTERNAL);
	assert_int_equal(err_from_http_status(503), ERR_UNAVAILABLE);
	assert_int_equal(err_from_http_status(418), ERR_INTERNAL);
	assert_int_equal(err_http_status((enum err_code)999), 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_fills_and_returns),  cmocka_unit_test(wrap_goes_in_front),
		cmocka_unit_test(errno_chooses_the_code), cmocka_unit_test(long_messages_end_at_a_character),
		cmocka_unit_test(tables_agree),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

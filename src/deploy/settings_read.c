/*
 * The reader of deployment settings as a client sends them (settings.h): walks the table of settings_fields.h, checks,
 * seals, and writes the canonical document.
 */
#include "base/encode.h"
#include "base/json_members.h"
#include "base/limits.h"
#include "deploy/settings_reader.h"

/* Names of variables end up in the environment of a process, and in shells. */
#define VARIABLES_MAX 1000
#define VARIABLE_NAME_MAX 256

static void leave(struct reader *r, size_t len)
{
	r->pointer.len = len;
	if (r->pointer.data)
		r->pointer.data[len] = '\0';
}

int settings_refuse(struct reader *r, const char *what)
{
	struct str at = buf_str(&r->pointer);
	return err_set(r->err, ERR_BAD_REQUEST, "%.*s: %s", STR_ARG(at.n ? at : STR("the body")), what);
}

static int want_string(struct reader *r, struct json v, struct str *ret)
{
	if (json_type(v) != JSON_STRING)
		return settings_refuse(r, "must be a string");
	if (!json_string(v, r->arena, ret))
		return err_nomem(r->err);
	/* Everything here ends up as an argument or in an environment. */
	return str_has_nul(*ret) ? settings_refuse(r, "must not contain a NUL character") : 0;
}

/* A directory of the repository: neither absolute nor with a ".." that could lead out of it. */
static bool is_inside(struct str s)
{
	if (s.n > 0 && s.p[0] == '/')
		return false;
	while (s.p) {
		struct str rest;
		if (str_is(str_cut(s, '/', &rest), ".."))
			return false;
		s = rest;
	}
	return true;
}

static bool is_one_of(struct str s, const char *const *list)
{
	for (; *list; list++)
		if (str_is(s, *list))
			return true;
	return false;
}

static int read_text(struct reader *r, const struct setting *row, struct json v)
{
	struct str s;
	int rc = want_string(r, v, &s);
	if (rc < 0)
		return rc;
	int64_t ignored_us;
	if (row->kind == SET_DURATION && s.n > 0 && !str_to_go_duration_us(s, &ignored_us))
		return settings_refuse(r, "must be a duration such as \"1h30m\"");
	if (row->kind == SET_PATH && !is_inside(s))
		return settings_refuse(r, "must be a relative path inside of the repository");
	if (row->kind == SET_OPERATION && r->mode == SETTINGS_CREATE)
		return err_set(r->err, ERR_BAD_REQUEST, "operation must only be set at the top level");
	if (row->one_of && s.n > 0 && !is_one_of(s, row->one_of))
		return settings_refuse(r, "is not one of the known values");
	jw_str(&r->w, s);
	return 0;
}

static int read_strings(struct reader *r, struct json v)
{
	if (json_type(v) != JSON_ARRAY)
		return settings_refuse(r, "must be an array of strings");
	size_t len = r->pointer.len, i = 0;
	struct json item;
	jw_array(&r->w);
	json_foreach(item, v) {
		struct str s;
		buf_addf(&r->pointer, "/%zu", i++);
		int rc = want_string(r, item, &s);
		if (rc < 0)
			return rc;
		leave(r, len);
		jw_str(&r->w, s);
	}
	jw_array_end(&r->w);
	return 0;
}

static void write_sealed(struct reader *r, struct str base64)
{
	jw_object(&r->w);
	jw_kv_str(&r->w, SECRET_LEAF, base64);
	jw_object_end(&r->w);
}

static int seal(struct reader *r, struct str plain)
{
	struct str sealed;
	int rc = secret_seal(r->key, plain, r->arena, &sealed, r->err);
	if (rc < 0)
		return rc;
	write_sealed(r, sealed);
	return 0;
}

/* What we gave out redacted comes back: its ciphertext if it is there, else what is stored at this place. */
static int keep_secret(struct reader *r, struct json ciphertext, struct json stored)
{
	struct str text, plain;
	if (json_is_null(ciphertext)) {
		if (!secret_is_leaf(stored))
			return settings_refuse(r, "is redacted, and there is no stored value to keep");
		jw_raw(&r->w, stored);
		return 0;
	}
	int rc = want_string(r, ciphertext, &text);
	if (rc == 0)
		rc = secret_open_text(r->key, text, r->arena, &plain, r->err);
	if (rc < 0)
		return rc == -ERR_BAD_REQUEST && r->err ? err_wrap(r->err, "%.*s", STR_ARG(buf_str(&r->pointer))) : rc;
	crypto_wipe((void *)(uintptr_t)plain.p, plain.n);
	write_sealed(r, text);
	return 0;
}

static int read_secret(struct reader *r, const struct setting *row, struct json v, struct json stored)
{
	struct str s;
	int rc;
	if (json_type(v) == JSON_STRING) {
		rc = want_string(r, v, &s);
		if (rc < 0)
			return rc;
		if (row->kind == SET_CREDENTIAL)
			return seal(r, s);
		jw_str(&r->w, s);
		return 0;
	}
	if (json_type(v) != JSON_OBJECT)
		return settings_refuse(r, "must be a string, or an object with \"secret\"");
	struct json explicit_ = json_get(v, "isSecret");
	struct json value = json_get(v, explicit_.p ? "value" : "secret");
	struct json ciphertext = json_get(v, "ciphertext");
	if (explicit_.p && json_type(explicit_) != JSON_BOOL)
		return settings_refuse(r, "isSecret must be true or false");
	if (json_is_null(value))
		value = json_get(v, "plaintext");
	if (json_is_null(value) && json_is_null(ciphertext))
		return settings_refuse(r, "has neither \"secret\" nor \"ciphertext\"");
	bool new_value = !json_is_null(value) && !json_string_is(value, SECRET_MARKER) &&
			 (json_is_null(ciphertext) || !json_string_is(value, ""));
	if (!new_value)
		return keep_secret(r, ciphertext, stored);
	rc = want_string(r, value, &s);
	if (rc < 0)
		return rc;
	if (explicit_.p && !json_is_true(explicit_) && row->kind != SET_CREDENTIAL) {
		jw_str(&r->w, s);
		return 0;
	}
	return seal(r, s);
}

static bool is_variable_name(struct str s)
{
	if (s.n == 0 || s.n > VARIABLE_NAME_MAX || (s.p[0] >= '0' && s.p[0] <= '9'))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'))
			return false;
	}
	return true;
}

static int read_variables(struct reader *r, struct json v, struct json stored)
{
	static const struct setting variable = { .name = "", .kind = SET_SECRET };
	if (json_type(v) != JSON_OBJECT)
		return settings_refuse(r, "must be an object");
	if (json_count(v) > VARIABLES_MAX)
		return settings_refuse(r, "has too many variables");
	size_t len = r->pointer.len;
	struct json_members members, kept;
	struct json_iter it;
	struct json key, value;
	int rc = json_members_init(&members, v, r->arena, r->err);
	if (rc == 0)
		rc = json_members_init(&kept, stored, r->arena, r->err);
	if (rc < 0)
		return rc;
	jw_object(&r->w);
	json_iter_init(&it, v);
	while (json_next(&it, &key, &value)) {
		struct str name;
		if (!json_string(key, r->arena, &name))
			return err_nomem(r->err);
		json_pointer_add(&r->pointer, name);
		if (!is_variable_name(name))
			return settings_refuse(r, "is not a name for an environment variable");
		if (json_members_get(&members, name).p == value.p) { /* of repeated names the last one counts */
			jw_key_str(&r->w, name);
			rc = 0;
			if (json_is_null(value))
				jw_null(&r->w);
			else
				rc = read_secret(r, &variable, value, json_members_get(&kept, name));
			if (rc < 0)
				return rc;
		}
		leave(r, len);
	}
	jw_object_end(&r->w);
	return 0;
}

static int read_object(struct reader *r, const struct setting *table, struct json v, struct json stored);

static int read_pool(struct reader *r, struct json v)
{
	if (json_is_null(v) || json_string_is(v, "")) {
		r->input->pool = POOL_DEFAULT;
		return 0;
	}
	struct str s;
	int rc = want_string(r, v, &s);
	if (rc < 0)
		return rc;
	r->input->pool = POOL_NAMED;
	r->input->pool_id = s.p;
	return 0;
}

/* A role that nobody knows is refused rather than kept: a run would have other rights than its settings say. */
static int read_role(struct reader *r, const struct setting *row, struct json v, struct json stored)
{
	struct json_iter it;
	struct json key, value;
	if (json_type(v) == JSON_OBJECT) {
		json_iter_init(&it, v);
		while (json_next(&it, &key, &value))
			if (!json_is_null(value) && !json_string_is(value, ""))
				return settings_refuse(
					r, "there is no such role: this server has no roles for deployments yet");
	}
	return read_object(r, row->sub, v, stored);
}

static int read_value(struct reader *r, const struct setting *row, struct json v, struct json stored)
{
	int64_t number;
	switch (row->kind) {
	case SET_ID:
		if (json_int64(v, &number)) {
			jw_str(&r->w, json_text(v));
			return 0;
		}
		return read_text(r, row, v);
	case SET_STRING:
	case SET_DURATION:
	case SET_PATH:
	case SET_OPERATION:
		return read_text(r, row, v);
	case SET_BOOL:
		if (json_type(v) != JSON_BOOL)
			return settings_refuse(r, "must be true or false");
		jw_raw(&r->w, v);
		return 0;
	case SET_INT:
		if (!json_int64(v, &number))
			return settings_refuse(r, "must be a whole number");
		jw_raw(&r->w, v);
		return 0;
	case SET_STRINGS:
		return read_strings(r, v);
	case SET_SECRET:
	case SET_CREDENTIAL:
		return read_secret(r, row, v, stored);
	case SET_VARIABLES:
		return read_variables(r, v, stored);
	case SET_IMAGE:
		if (json_type(v) == JSON_STRING)
			return read_text(r, row, v);
		if (json_type(v) != JSON_OBJECT)
			return settings_refuse(r, "must be a string, or an object with \"reference\"");
		return read_object(r, row->sub, v, stored);
	case SET_ROLE:
		return read_role(r, row, v, stored);
	case SET_OBJECT:
		return read_object(r, row->sub, v, stored);
	case SET_POOL:
	case SET_READ_ONLY:
		break;
	}
	return 0;
}

static bool is_empty(struct json v)
{
	return json_string_is(v, "") || (json_type(v) == JSON_ARRAY && json_count(v) == 0);
}

static const struct setting *find_row(const struct setting *table, struct str name)
{
	for (; table->name; table++)
		if (str_is(name, table->name))
			return table;
	return NULL;
}

static int read_member(struct reader *r, const struct setting *row, struct json v, struct json stored)
{
	if (row->kind == SET_READ_ONLY)
		return 0;
	if (row->kind == SET_POOL)
		return read_pool(r, v);
	if (row->empty_inherits && r->mode == SETTINGS_CREATE && (json_is_null(v) || is_empty(v)))
		return 0;
	const char *name = row->canonical ? row->canonical : row->name;
	jw_key(&r->w, name);
	if (json_is_null(v)) {
		jw_null(&r->w);
		return 0;
	}
	return read_value(r, row, v, json_get(stored, name));
}

static int read_object(struct reader *r, const struct setting *table, struct json v, struct json stored)
{
	if (json_type(v) != JSON_OBJECT)
		return settings_refuse(r, "must be an object");
	size_t len = r->pointer.len;
	struct json_members members;
	struct json_iter it;
	struct json key, value;
	int rc = json_members_init(&members, v, r->arena, r->err);
	if (rc < 0)
		return rc;
	jw_object(&r->w);
	json_iter_init(&it, v);
	while (json_next(&it, &key, &value)) {
		struct str name;
		if (!json_string(key, r->arena, &name))
			return err_nomem(r->err);
		const struct setting *row = find_row(table, name);
		json_pointer_add(&r->pointer, name);
		if (!row) {
			if (r->ignored)
				ignored_fields_add(r->ignored, buf_str(&r->pointer).p);
		} else if (json_members_get(&members, name).p == value.p &&
			   !(row->canonical && json_members_get(&members, str_of(row->canonical)).p)) {
			rc = read_member(r, row, value, stored);
			if (rc < 0)
				return rc;
		}
		leave(r, len);
	}
	rc = settings_settle(r, table, v);
	jw_object_end(&r->w);
	return rc;
}

int settings_read(struct json in, struct json stored, const struct secrets_key *key, enum settings_mode mode,
		  struct arena *a, struct ignored_fields *ig, struct settings_input *ret, struct err *e)
{
	_cleanup_buf_ struct buf out;
	buf_init(&out, 4 * HTTP_JSON_BODY_BYTES); /* sealing lengthens */
	struct settings_input input = { .pool = POOL_INHERIT };
	struct reader r = { .key = key, .mode = mode, .arena = a, .ignored = ig, .input = &input, .err = e };
	jw_init(&r.w, &out);
	buf_init(&r.pointer, 4 * HTTP_JSON_BODY_BYTES);
	int rc = settings_settle_begin(&r, in);
	if (rc == 0)
		rc = read_object(&r, settings_document, in, stored);
	if (rc == 0)
		rc = buf_check(&r.pointer, "JSON pointer", e);
	buf_done(&r.pointer);
	if (rc == 0)
		rc = buf_check(&out, "deployment settings", e);
	if (rc < 0)
		return rc;
	const char *text = arena_strndup(a, out.data, out.len);
	if (!text)
		return err_nomem(e);
	input.patch = (struct json){ text, out.len };
	*ret = input;
	return 0;
}

/* Secrets of the provider "service": values sealed with the stack's own key (cli-protocol §3.4). */
#include "state/secrets.h"

#include "base/encode.h"
#include "http/http.h"

#define ROUTE_FILE "routes_state.def"
#include "../api/declare.h"

struct encrypt {
	struct str plaintext;
};
const struct field encrypt_fields[] = { FIELD(struct encrypt, plaintext, "plaintext", FIELD_BYTES, .required = true,
					      .doc = "Any bytes, as base64"),
					FIELD_END };

struct decrypt {
	struct str ciphertext;
};
const struct field decrypt_fields[] = { FIELD(struct decrypt, ciphertext, "ciphertext", FIELD_BYTES, .required = true,
					      .doc = "As encrypt gave it"),
					FIELD_END };

struct batch {
	struct json values;
};
const struct field batch_encrypt_fields[] = {
	FIELD(struct batch, values, "plaintexts", FIELD_STRING_LIST, .required = true), FIELD_END
};
const struct field batch_decrypt_fields[] = {
	FIELD(struct batch, values, "ciphertexts", FIELD_STRING_LIST, .required = true), FIELD_END
};

struct log_decryption {
	const char *secret;
	const char *command;
};
const struct field log_decryption_fields[] = { FIELD(struct log_decryption, secret, "secretName", FIELD_STRING),
					       FIELD(struct log_decryption, command, "commandName", FIELD_STRING),
					       FIELD_END };

int secret_api_encrypt(struct request *r, struct response *w, struct err *e)
{
	struct encrypt body = { 0 };
	struct sealer s = { 0 };
	struct str sealed;
	int rc = request_decode(r, w, encrypt_fields, &body, e);
	if (rc == 0)
		rc = sealer_init(&s, app_of(r), r->arena, request_access(r), e);
	if (rc == 0)
		rc = sealer_seal(&s, body.plaintext, r->arena, &sealed, e);
	sealer_done(&s);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "ciphertext", base64_encode_arena(r->arena, sealed));
	jw_object_end(j);
	return 0;
}

int secret_api_decrypt(struct request *r, struct response *w, struct err *e)
{
	struct decrypt body = { 0 };
	struct sealer s = { 0 };
	struct str plain;
	int rc = request_decode(r, w, decrypt_fields, &body, e);
	if (rc == 0)
		rc = sealer_init(&s, app_of(r), r->arena, request_access(r), e);
	if (rc == 0)
		rc = sealer_open(&s, body.ciphertext, r->arena, "/ciphertext", &plain, e);
	sealer_done(&s);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "plaintext", base64_encode_arena(r->arena, plain));
	jw_object_end(j);
	return 0;
}

/* The bytes of element n of the list. */
static int element_bytes(struct request *r, struct json value, const char *list, size_t n, struct str *ret,
			 struct err *e)
{
	struct str text;
	if (!json_string(value, r->arena, &text) || !base64_decode(r->arena, text, ret))
		return err_set(e, ERR_BAD_REQUEST, "/%s/%zu: must be base64", list, n);
	return 0;
}

int secret_api_batch_encrypt(struct request *r, struct response *w, struct err *e)
{
	struct batch body = { 0 };
	struct sealer s = { 0 };
	int rc = request_decode(r, w, batch_encrypt_fields, &body, e);
	if (rc == 0)
		rc = sealer_init(&s, app_of(r), r->arena, request_access(r), e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "ciphertexts");
	jw_array(j);
	struct json value;
	size_t n = 0;
	json_foreach(value, body.values) {
		struct str plain, sealed;
		rc = element_bytes(r, value, "plaintexts", n++, &plain, e);
		if (rc == 0)
			rc = sealer_seal(&s, plain, r->arena, &sealed, e);
		if (rc < 0)
			break;
		jw_string(j, base64_encode_arena(r->arena, sealed));
	}
	jw_array_end(j);
	jw_object_end(j);
	sealer_done(&s);
	return rc;
}

int secret_api_batch_decrypt(struct request *r, struct response *w, struct err *e)
{
	struct batch body = { 0 };
	struct sealer s = { 0 };
	int rc = request_decode(r, w, batch_decrypt_fields, &body, e);
	if (rc == 0)
		rc = sealer_init(&s, app_of(r), r->arena, request_access(r), e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "plaintexts");
	jw_object(j);
	struct json value;
	size_t n = 0;
	json_foreach(value, body.values) {
		struct str text, sealed, plain;
		char field[40];
		snprintf(field, sizeof(field), "/ciphertexts/%zu", n);
		rc = element_bytes(r, value, "ciphertexts", n++, &sealed, e);
		if (rc == 0)
			rc = sealer_open(&s, sealed, r->arena, field, &plain, e);
		if (rc < 0)
			break;
		/* The key is the text as it was sent: the CLI looks its own strings up in the answer. */
		json_string(value, r->arena, &text);
		jw_key_str(j, text);
		jw_string(j, base64_encode_arena(r->arena, plain));
	}
	jw_object_end(j);
	jw_object_end(j);
	sealer_done(&s);
	return rc;
}

int secret_api_log(struct request *r, struct response *w, struct err *e)
{
	struct log_decryption body = { 0 };
	int rc = request_decode(r, w, log_decryption_fields, &body, e);
	if (rc < 0)
		return rc;
	response_empty(w, 204);
	return 0;
}

// floor is the least that a state backend can do: it answers every call of `pulumi up` at once, with what the CLI
// insists on, and keeps nothing. The time of an update against it is the CLI's own, which no backend can go below.
//
// POST /floor/state sets the text that exports answer, so that an update without changes can be measured too.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
)

const empty = `{"version":3,"deployment":{"manifest":{"time":"0001-01-01T00:00:00Z","magic":"","version":""},"metadata":{}}}`

var (
	state   atomic.Value
	updates atomic.Int64
)

func answer(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, text)
}

func handle(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	path := strings.TrimPrefix(r.URL.Path, "/api/")
	parts := strings.Split(path, "/")
	last := parts[len(parts)-1]
	switch {
	case r.URL.Path == "/floor/state":
		state.Store(string(body))
	case path == "user":
		answer(w, `{"githubLogin":"admin","name":"admin","email":"","organizations":[{"githubLogin":"acme","name":"acme"}]}`)
	case path == "user/organizations/default":
		answer(w, `{"gitHubLogin":"acme"}`)
	case path == "capabilities":
		answer(w, `{"capabilities":[{"capability":"batch-encrypt"},{"capability":"deployment-schema-version","version":1,"configuration":{"version":4}}]}`)
	case last == "export":
		answer(w, state.Load().(string))
	case last == "encrypt":
		answer(w, `{"ciphertext":"YQ=="}`)
	case last == "batch-encrypt":
		answer(w, `{"ciphertexts":[]}`)
	case last == "batch-decrypt":
		answer(w, `{"plaintexts":{}}`)
	case last == "renew_lease":
		answer(w, `{"token":"t"}`)
	case last == "journalentries" || last == "batch" || last == "complete" || last == "checkpoint":
		w.WriteHeader(204)
	case len(parts) == 3 && r.Method == "POST": // stacks/org/project
		answer(w, `{}`)
	case len(parts) == 4 && r.Method == "GET": // stacks/org/project/stack
		answer(w, fmt.Sprintf(`{"id":"s","orgName":"%s","projectName":"%s","stackName":"%s","activeUpdate":"","tags":{},"version":0}`, parts[1], parts[2], parts[3]))
	case len(parts) == 5 && r.Method == "POST": // …/update
		answer(w, fmt.Sprintf(`{"updateID":"u%d"}`, updates.Add(1)))
	case len(parts) == 6 && r.Method == "POST": // …/update/ID
		answer(w, `{"version":1,"token":"t","journalVersion":1}`)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(404)
		io.WriteString(w, `{"code":404,"message":"Not Found"}`)
	}
}

func main() {
	state.Store(empty)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	panic(http.Serve(listener, http.HandlerFunc(handle)))
}

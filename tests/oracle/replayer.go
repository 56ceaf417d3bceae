// replayer replays journals with the CLI's own replayer, for tests/oracle/run. One document per line on standard input:
//
//	{"base":<DeploymentV3 or null>,"batches":[{"entries":[...]},...]}
//
// One UntypedDeployment, or {"error":"..."}, per line on standard output. What a service adds to the replayer is done
// here too: entries are put in the order of their sequence ids, and of those with the same id the first one counts.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/pulumi/pulumi/pkg/v3/backend"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
)

type document struct {
	Base    *apitype.DeploymentV3    `json:"base"`
	Batches []apitype.JournalEntries `json:"batches"`
}

func replay(line []byte) (result any, err error) {
	// The replayer panics where it meets what no engine writes.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	var doc document
	if err := json.Unmarshal(line, &doc); err != nil {
		return nil, err
	}
	if doc.Base == nil {
		doc.Base = &apitype.DeploymentV3{}
	}
	var entries []apitype.JournalEntry
	for _, batch := range doc.Batches {
		entries = append(entries, batch.Entries...)
	}
	slices.SortStableFunc(entries, func(a, b apitype.JournalEntry) int {
		switch {
		case a.SequenceID < b.SequenceID:
			return -1
		case a.SequenceID > b.SequenceID:
			return 1
		}
		return 0
	})
	replayer := backend.NewJournalReplayer(doc.Base)
	last := int64(-1)
	for _, entry := range entries {
		if entry.SequenceID == last {
			continue
		}
		last = entry.SequenceID
		if err := replayer.Add(entry); err != nil {
			return nil, err
		}
	}
	return replayer.GenerateDeployment()
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			result, failure := replay(line)
			if failure != nil {
				result = map[string]string{"error": failure.Error()}
			}
			if err := encoder.Encode(result); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			if err := out.Flush(); err != nil {
				os.Exit(1)
			}
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

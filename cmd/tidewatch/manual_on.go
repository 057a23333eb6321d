//go:build manual

package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// addManual adds the hidden command that writes the manual pages and the completion
// of shells, for `make manual`. The program itself has no use for what that takes.
func addManual(root *cobra.Command) {
	root.AddCommand(&cobra.Command{
		Use:    "manual DIR",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE:   func(_ *cobra.Command, args []string) error { return writeManual(root, args[0]) },
	})
}

func writeManual(root *cobra.Command, dir string) error {
	man, completion := filepath.Join(dir, "man"), filepath.Join(dir, "completion")
	for _, d := range []string{man, completion} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	root.DisableAutoGenTag = true // the same code, the same page
	if err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "tidewatch", Manual: "tidewatch"}, man); err != nil {
		return err
	}
	if err := root.GenBashCompletionFileV2(filepath.Join(completion, "tidewatch.bash"), true); err != nil {
		return err
	}
	if err := root.GenZshCompletionFile(filepath.Join(completion, "_tidewatch")); err != nil {
		return err
	}
	return root.GenFishCompletionFile(filepath.Join(completion, "tidewatch.fish"), true)
}

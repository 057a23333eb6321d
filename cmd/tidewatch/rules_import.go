package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"tidewatch/internal/strict"
	"tidewatch/outputs"
	"tidewatch/rules/sigma"
)

func rulesImportCommand(t terminal) *cobra.Command {
	c := &cobra.Command{Use: "import", Short: "Translate rules of other systems"}
	var dir string
	s := &cobra.Command{
		Use:   "sigma FILE...",
		Short: "Translate Sigma rules for Zeek's logs",
		Long: `Sigma translates rules for Zeek's conn, dns, http, ssl, x509, files, smb_files,
dce_rpc, kerberos, rdp and ssh, one rule or several in a file; of a folder, each *.yml.
A rule that asks what cannot be asked here is not translated: what that is goes to
standard error, with its line, and the exit status is 1. The others are written.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, paths []string) error { return importSigma(t, dir, paths) },
	}
	s.Flags().StringVar(&dir, "output", "", "`folder` that gets a file for each rule; without it they are printed")
	c.AddCommand(s)
	return c
}

// maxSigma bounds a file of Sigma rules, in bytes.
const maxSigma = 10 << 20

// importSigma translates files, and those in folders.
func importSigma(t terminal, dir string, paths []string) error {
	files, err := sigmaFiles(paths)
	if err != nil {
		return exit{exitError, err}
	}
	var problems []*strict.Problem
	written := map[string]string{} // by the rule's id: which file it is from
	left := 0
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return exit{exitError, err}
		}
		for _, r := range sigma.Translate(path, text) {
			if before, twice := written[r.ID]; twice && r.TOML != "" {
				r.Problems = append(r.Problems, &strict.Problem{File: path, What: fmt.Sprintf("rule %s is already made of %s", r.ID, before)})
			}
			if len(r.Problems) > 0 {
				problems = append(problems, r.Problems...)
				left++
				continue
			}
			written[r.ID] = path
			if err := writeRule(t, dir, r); err != nil {
				return exit{exitError, err}
			}
		}
	}
	if left > 0 {
		return exit{exitError, fmt.Errorf("%w\n%d of %d rules are not translated", strict.Join(problems), left, left+len(written))}
	}
	return nil
}

// writeRule writes a rule to a file of its own, or prints it.
func writeRule(t terminal, dir string, r sigma.Rule) error {
	if dir == "" {
		_, err := fmt.Fprintln(t.out, outputs.PrintableLines(r.TOML))
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, r.ID+".toml"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err // one that is there may have been edited
	}
	_, err = f.WriteString(r.TOML)
	return errors.Join(err, f.Close())
}

// sigmaFiles returns the files, and those of folders that may hold rules.
func sigmaFiles(paths []string) (files []string, err error) {
	for _, p := range paths {
		err := filepath.WalkDir(p, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if path != p && !strings.HasSuffix(path, ".yml") && !strings.HasSuffix(path, ".yaml") {
				return nil
			}
			if info, err := d.Info(); err != nil || info.Size() > maxSigma {
				return errors.Join(err, fmt.Errorf("%s is no file of rules", path))
			}
			files = append(files, path)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

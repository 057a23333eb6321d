// Command tidewatch finds what is wrong in the logs of Zeek and Suricata, old ones or
// those of a live sensor, and says why.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"tidewatch/outputs"
)

// Exit statuses, beside 0.
const (
	exitError   = 1 // something could not be done
	exitUsage   = 2 // the command line is not understood
	exitFound   = 3 // --fail-on: there is a finding as severe as that
	exitStopped = 130
)

func main() { os.Exit(run(os.Args[1:], terminal{os.Stdin, os.Stdout, os.Stderr})) }

// terminal is what a command talks to.
type terminal struct{ in, out, err *os.File }

// exit is an error that carries the exit status. Its message may be empty.
type exit struct {
	status int
	err    error
}

func (e exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e exit) Unwrap() error { return e.err }

// run runs one command and returns the exit status.
func run(args []string, t terminal) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal asks for an orderly end, the second one gets its default.
	context.AfterFunc(ctx, stop)

	root := rootCommand(t)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if s := err.Error(); s != "" {
		fmt.Fprintln(t.err, "tidewatch: "+outputs.PrintableLines(s))
	}
	var e exit
	if errors.As(err, &e) {
		return e.status
	}
	return exitUsage
}

// rootCommand returns the command that all others are below.
func rootCommand(t terminal) *cobra.Command {
	root := &cobra.Command{
		Use:           "tidewatch",
		Short:         "Find what is wrong in the logs of Zeek and Suricata, and say why.",
		SilenceErrors: true,
		SilenceUsage:  true,
		CompletionOptions: cobra.CompletionOptions{
			HiddenDefaultCmd: true,
		},
	}
	root.SetOut(t.out)
	root.SetErr(t.err)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return exit{exitUsage, fmt.Errorf("%w\nsee '%s --help'", err, c.CommandPath())}
	})
	root.AddCommand(runCommand(t), checkCommand(t), statusCommand(t), analyzeCommand(t), rulesCommand(t), evalCommand(t), setupCommand(t), versionCommand(t))
	addManual(root)
	root.AddCommand(stateCommand(t))
	return root
}

func versionCommand(t terminal) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and what it was built from",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			info, ok := debug.ReadBuildInfo()
			if !ok {
				return exit{exitError, errors.New("this program was built without build information")}
			}
			_, err := fmt.Fprintln(t.out, version(info))
			return err
		},
	}
}

// version says in one line what the build information knows.
func version(info *debug.BuildInfo) string {
	v := info.Main.Version
	if v == "" {
		v = "(devel)"
	}
	var revision, time, dirty string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.time":
			time = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				dirty = ", modified"
			}
		}
	}
	if revision != "" {
		revision = fmt.Sprintf(" (%.12s of %s%s)", revision, time, dirty)
	}
	return fmt.Sprintf("tidewatch %s%s, %s", v, revision, info.GoVersion)
}

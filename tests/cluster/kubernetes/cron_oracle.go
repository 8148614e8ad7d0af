package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/robfig/cron/v3"
)

// maxTimes bounds one answer, so that a mistyped count cannot fill the memory.
const maxTimes = 100_000

// cronQuestion is one line of standard input: the slots of a schedule strictly after From.
type cronQuestion struct {
	Schedule string    `json:"schedule"`
	TimeZone string    `json:"timeZone"`
	From     time.Time `json:"from"`
	Count    int       `json:"count"`
}

// cronAnswer is one line of standard output. Times holds fewer than Count entries where the schedule ends
// (a schedule that never fires, as on 30 February, has none).
type cronAnswer struct {
	Times []string `json:"times,omitempty"`
	Error string   `json:"error,omitempty"`
}

// runCronOracle answers each JSON line of standard input with one JSON line, in order.
func runCronOracle() error {
	questions := json.NewDecoder(os.Stdin)
	questions.DisallowUnknownFields()
	answers := json.NewEncoder(os.Stdout)
	for {
		var question cronQuestion
		if err := questions.Decode(&question); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading a question: %w", err)
		}
		if err := answers.Encode(answerCron(question)); err != nil {
			return fmt.Errorf("writing an answer: %w", err)
		}
	}
}

// answerCron reads the schedule as the CronJob controller does: a time zone goes in front of it as TZ=, and without
// one the schedule runs in the controller's own zone, which is UTC here.
func answerCron(question cronQuestion) (answer cronAnswer) {
	// The parser panics on a lone "TZ=Zone" (robfig/cron issue 554); the controller lives with that behind its validation.
	defer func() {
		if reason := recover(); reason != nil {
			answer = cronAnswer{Error: fmt.Sprintf("the parser panicked: %v", reason)}
		}
	}()
	if question.Count < 0 || question.Count > maxTimes {
		return cronAnswer{Error: fmt.Sprintf("count must be between 0 and %d", maxTimes)}
	}
	formatted := question.Schedule
	if question.TimeZone != "" {
		if _, err := time.LoadLocation(question.TimeZone); err != nil {
			return cronAnswer{Error: err.Error()}
		}
		formatted = "TZ=" + question.TimeZone + " " + question.Schedule
	}
	schedule, err := cron.ParseStandard(formatted)
	if err != nil {
		return cronAnswer{Error: err.Error()}
	}
	next := question.From.UTC()
	for range question.Count {
		if next = schedule.Next(next); next.IsZero() {
			break
		}
		answer.Times = append(answer.Times, next.UTC().Format(time.RFC3339))
	}
	return answer
}

// Answers what kstatus, Argo CD and Flux make of objects, by their own libraries: gitops LUA FLUX <objects.json.
// The input is a JSON list of {"name", "object"}; the output a list of {"name", "kstatus", "argocd", "flux"}.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/fluxcd/pkg/apis/kustomize"
	fluxcel "github.com/fluxcd/pkg/runtime/cel"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"
)

type input struct {
	Name   string          `json:"name"`
	Object json.RawMessage `json:"object"`
}

type answer struct {
	Name    string `json:"name"`
	Kstatus string `json:"kstatus"`
	ArgoCD  string `json:"argocd"`
	Flux    string `json:"flux"`
}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(luaFile, fluxFile string) error {
	script, err := os.ReadFile(luaFile)
	if err != nil {
		return err
	}
	evaluators, err := fluxEvaluators(fluxFile)
	if err != nil {
		return err
	}
	var inputs []input
	if err := json.NewDecoder(os.Stdin).Decode(&inputs); err != nil {
		return err
	}
	answers := make([]answer, 0, len(inputs))
	for _, in := range inputs {
		var object unstructured.Unstructured
		if err := object.UnmarshalJSON(in.Object); err != nil {
			return err
		}
		answers = append(answers, answer{
			Name:    in.Name,
			Kstatus: kstatusOf(&object),
			ArgoCD:  argocdOf(string(script), object.UnstructuredContent()),
			Flux:    fluxOf(evaluators[object.GetKind()], &object),
		})
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

func kstatusOf(object *unstructured.Unstructured) string {
	result, err := status.Compute(object)
	if err != nil {
		return "error: " + err.Error()
	}
	return result.Status.String()
}

func fluxEvaluators(file string) (map[string]*fluxcel.StatusEvaluator, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var object struct {
		Spec struct {
			HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &object); err != nil {
		return nil, err
	}
	evaluators := map[string]*fluxcel.StatusEvaluator{}
	for _, check := range object.Spec.HealthCheckExprs {
		evaluator, err := fluxcel.NewStatusEvaluator(&check.HealthCheckExpressions)
		if err != nil {
			return nil, err
		}
		evaluators[check.Kind] = evaluator
	}
	return evaluators, nil
}

func fluxOf(evaluator *fluxcel.StatusEvaluator, object *unstructured.Unstructured) string {
	if evaluator == nil {
		return "no expressions"
	}
	result, err := evaluator.Evaluate(context.Background(), object)
	if err != nil {
		// Flux's reader makes the same of it, and asks again.
		return status.UnknownStatus.String()
	}
	return result.Status.String()
}

func argocdOf(script string, object map[string]any) string {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	// The libraries that Argo CD opens.
	for name, open := range map[string]lua.LGFunction{
		lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable, lua.StringLibName: lua.OpenString,
	} {
		state.Push(state.NewFunction(open))
		state.Push(lua.LString(name))
		state.Call(1, 0)
	}
	state.SetGlobal("obj", toLua(state, object))
	if err := state.DoString(script); err != nil {
		return "error: " + err.Error()
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok || table.RawGetString("message") == lua.LNil {
		return "error: no table with status and message"
	}
	return table.RawGetString("status").String()
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case int64:
		return lua.LNumber(value)
	case float64:
		return lua.LNumber(value)
	case string:
		return lua.LString(value)
	case []any:
		table := state.NewTable()
		for _, item := range value {
			table.Append(toLua(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range value {
			table.RawSetString(key, toLua(state, item))
		}
		return table
	default:
		return lua.LNil
	}
}

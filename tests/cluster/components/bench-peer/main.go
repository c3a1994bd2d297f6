// The operator that the benchmark compares Elpio's with: the same writes for the same objects, by
// controller-runtime, tuned. It is no example of an operator: it knows one engine, no error and no user.
//
// Tuned means: no limit of the client's own (the API server's fairness counts), as many reconciles at once
// as Elpio has, a cache without managedFields, no apply where nothing changed, one status patch a reconcile,
// and Events by the recorder, which publishes them in the background.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const manager = "bench-peer"

// The child's annotation with the owner's generation that it was applied for.
const appliedFor = "bench.elpio.io/generation"

var (
	ownerKind = schema.GroupVersionKind{Group: "elpio.io", Version: "v1alpha1", Kind: "ElpioService"}
	childKind = schema.GroupVersionKind{Group: "serving.knative.dev", Version: "v1", Kind: "Service"}
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	log.SetLogger(logr.Discard())
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	config.QPS = -1
	workers, err := strconv.Atoi(os.Getenv("PEER_WORKERS"))
	if err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Cache:                  cache.Options{DefaultTransform: cache.TransformStripManagedFields()},
		Client:                 client.Options{Cache: &client.CacheOptions{Unstructured: true}},
		HealthProbeBindAddress: "127.0.0.1:" + os.Getenv("PEER_HEALTH_PORT"),
		Metrics:                server.Options{BindAddress: "0"},
	})
	if err != nil {
		return err
	}
	synced := func(r *http.Request) error {
		if !mgr.GetCache().WaitForCacheSync(r.Context()) {
			return fmt.Errorf("the caches are not synced")
		}
		return nil
	}
	if err := mgr.AddReadyzCheck("caches", healthz.Checker(synced)); err != nil {
		return err
	}
	r := &reconciler{client: mgr.GetClient(), events: mgr.GetEventRecorder(manager)}
	err = ctrl.NewControllerManagedBy(mgr).
		For(object(ownerKind)).
		Owns(object(childKind)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(r)
	if err != nil {
		return err
	}
	return mgr.Start(ctrl.SetupSignalHandler())
}

func object(kind schema.GroupVersionKind) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(kind)
	return u
}

type reconciler struct {
	client client.Client
	events events.EventRecorder
	// By uid, what was written last: the cache may not have it yet, and nothing is written twice.
	written sync.Map
}

type state struct {
	generation int64
	ready      bool
}

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	owner := object(ownerKind)
	if err := r.client.Get(ctx, request.NamespacedName, owner); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	generation := owner.GetGeneration()
	live := object(childKind)
	if err := r.client.Get(ctx, request.NamespacedName, live); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	}
	last, _ := r.written.Load(owner.GetUID())
	before, _ := last.(state)
	if live.GetAnnotations()[appliedFor] != strconv.FormatInt(generation, 10) {
		live = child(owner)
		options := []client.ApplyOption{client.FieldOwner(manager), client.ForceOwnership}
		if err := r.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(live), options...); err != nil {
			return ctrl.Result{}, err
		}
	}
	ready := isReady(live)
	observed, _, _ := unstructured.NestedInt64(owner.Object, "status", "observedGeneration")
	wasReady := isReady(owner)
	if (observed == generation && wasReady == ready) || before == (state{generation, ready}) {
		return ctrl.Result{}, nil
	}
	patched := owner.DeepCopy()
	patched.Object["status"] = status(owner, ready)
	if err := r.client.Status().Patch(ctx, patched, client.MergeFrom(owner)); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	r.written.Store(owner.GetUID(), state{generation, ready})
	if observed != generation && before.generation != generation {
		r.events.Eventf(owner, live, corev1.EventTypeNormal, "Reconciled", "Apply", "engine knative, 1 object")
		r.events.Eventf(owner, live, corev1.EventTypeNormal, "Progressing", "Observe", "waiting for Service %s: %d", request.Name, generation)
	}
	if ready && !wasReady {
		r.events.Eventf(owner, live, corev1.EventTypeNormal, "Ready", "Observe", "engine knative serves at %s: %d", url(owner), generation)
	}
	return ctrl.Result{}, nil
}

// Whether Ready is True for the current generation.
func isReady(o *unstructured.Unstructured) bool {
	observed, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == "Ready" {
			return c["status"] == "True" && observed == o.GetGeneration()
		}
	}
	return false
}

// The Knative Service as Elpio renders it for the same spec.
func child(owner *unstructured.Unstructured) *unstructured.Unstructured {
	name := owner.GetName()
	text := func(fields ...string) string {
		value, _, _ := unstructured.NestedString(owner.Object, append([]string{"spec"}, fields...)...)
		return value
	}
	env, _, _ := unstructured.NestedSlice(owner.Object, "spec", "env")
	resources, _, _ := unstructured.NestedMap(owner.Object, "spec", "resources")
	labels := func() map[string]any {
		return map[string]any{
			"app.kubernetes.io/instance": name, "app.kubernetes.io/managed-by": manager,
			"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": manager, "elpio.io/service": name,
		}
	}
	u := object(childKind)
	u.SetName(name)
	u.SetNamespace(owner.GetNamespace())
	u.Object["metadata"].(map[string]any)["labels"] = labels()
	u.SetAnnotations(map[string]string{appliedFor: strconv.FormatInt(owner.GetGeneration(), 10)})
	u.SetOwnerReferences([]metav1.OwnerReference{*metav1.NewControllerRef(owner, ownerKind)})
	u.Object["spec"] = map[string]any{
		"traffic": []any{map[string]any{"latestRevision": true, "percent": int64(100)}},
		"template": map[string]any{
			"metadata": map[string]any{
				"labels": labels(),
				"annotations": map[string]any{
					"autoscaling.knative.dev/class": "kpa.autoscaling.knative.dev", "autoscaling.knative.dev/metric": "concurrency",
					"autoscaling.knative.dev/target": "100", "autoscaling.knative.dev/min-scale": "0",
					"autoscaling.knative.dev/max-scale": "10",
				},
			},
			"spec": map[string]any{
				"serviceAccountName": "default",
				"containers": []any{map[string]any{
					"name": "user-container", "image": text("image", "repository") + ":" + text("image", "tag"),
					"ports": []any{map[string]any{"containerPort": int64(8080)}},
					"env":   env, "resources": resources,
					"securityContext": map[string]any{
						"allowPrivilegeEscalation": false,
						"capabilities":             map[string]any{"drop": []any{"ALL"}},
						"seccompProfile":           map[string]any{"type": "RuntimeDefault"},
					},
				}},
			},
		},
	}
	return u
}

func url(owner *unstructured.Unstructured) string {
	return "http://" + owner.GetName() + "." + owner.GetNamespace() + ".svc.cluster.local"
}

// As many fields as Elpio's status has.
func status(owner *unstructured.Unstructured, ready bool) map[string]any {
	now := metav1.Now().UTC().Format("2006-01-02T15:04:05Z")
	condition := func(kind string, is bool, reason, message string) any {
		value := "False"
		if is {
			value = "True"
		}
		return map[string]any{
			"type": kind, "status": value, "reason": reason, "message": message,
			"lastTransitionTime": now, "observedGeneration": owner.GetGeneration(),
		}
	}
	waiting := "Service " + owner.GetName() + " is not ready"
	reason := map[bool]string{true: "Ready", false: "Progressing"}[ready]
	return map[string]any{
		"observedGeneration": owner.GetGeneration(), "ready": ready, "engine": "knative", "url": url(owner),
		"children": []any{map[string]any{
			"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": owner.GetName(), "ready": ready,
		}},
		"conditions": []any{
			condition("Ready", ready, reason, waiting),
			condition("Reconciled", true, "Reconciled", "engine knative, 1 object"),
			condition("EngineReady", ready, reason, waiting),
			condition("Reconciling", !ready, reason, waiting),
			condition("Stalled", false, reason, waiting),
		},
	}
}

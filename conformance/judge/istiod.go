package judge

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"

	security "istio.io/api/security/v1beta1"
	configaggregate "istio.io/istio/pilot/pkg/config/aggregate"
	"istio.io/istio/pilot/pkg/config/memory"
	"istio.io/istio/pilot/pkg/features"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/networking/core"
	"istio.io/istio/pilot/pkg/serviceregistry/aggregate"
	"istio.io/istio/pilot/pkg/serviceregistry/ambient"
	kuberegistry "istio.io/istio/pilot/pkg/serviceregistry/kube/controller"
	"istio.io/istio/pilot/pkg/serviceregistry/serviceentry"
	"istio.io/istio/pkg/activenotifier"
	"istio.io/istio/pkg/cluster"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/constants"
	"istio.io/istio/pkg/config/mesh/meshwatcher"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/schema/gvr"
	kubelib "istio.io/istio/pkg/kube"
	"istio.io/istio/pkg/kube/kclient"
	"istio.io/istio/pkg/kube/krt"
	"istio.io/istio/pkg/kube/multicluster"
	"istio.io/istio/pkg/kube/namespace"
)

// istiod is a control plane over one set of manifests, built of istiod's own
// controllers as pilot/pkg/bootstrap puts them together, without a network.
type istiod struct {
	env *model.Environment
	// registries hold the services of the mesh.
	registries model.ServiceDiscovery
	// entries are those of them that ServiceEntries register.
	entries   model.ServiceDiscovery
	push      *model.PushContext
	generator *core.ConfigGeneratorImpl
	metadata  map[string]string // of all proxies, from the mesh configuration
	// sidecars are the workloads that have one, by namespace.
	sidecars map[string][]*Workload
	// scopes are the namespaces with a Sidecar, imports what those name.
	scopes, imports map[string]bool
	// machines counts the WorkloadEntries of each address.
	machines map[string]int
	// order is the number of the order in which things that tie come.
	order int
	// shared makes gateways come after the sidecars of their namespace.
	shared bool
	stop   chan struct{}
	client kubelib.Client
	slices []*discoveryv1.EndpointSlice
	// ambient is what ztunnel is told, nil without ambient mode; contended are the hosts
	// about which that is left to chance.
	ambient   ambient.Index
	contended map[string]bool
}

const clusterID = cluster.ID(constants.DefaultClusterName)

// syncTimeout bounds the wait for istiod's controllers. They work in memory;
// it is reached only when something is broken.
const syncTimeout = 2 * time.Minute

func startIstiod(m *Manifests) (*istiod, error) {
	i := &istiod{stop: make(chan struct{}), slices: m.EndpointSlices, metadata: m.Mesh.GetDefaultConfig().GetProxyMetadata(), sidecars: map[string][]*Workload{}, machines: addressesOfMachines(m)}
	i.sidecarResources(m)
	for _, w := range m.Workloads {
		if w.Role == SidecarProxy {
			i.sidecars[w.Pod.Namespace] = append(i.sidecars[w.Pod.Namespace], w)
		}
	}
	allocated := allocate(m.Configs)
	objects := gatewayObjects(m)
	if Ambient() {
		objects = ambientObjects(m, allocated)
	}
	i.client = kubelib.NewFakeClient(objects...)
	kinds := []schema.GroupVersionResource(nil)
	if len(m.GatewayAPI) > 0 || Ambient() {
		kinds = gatewayKinds
	}
	if Ambient() {
		kinds = append(slices.Clone(kinds), gvr.AuthorizationPolicy, gvr.PeerAuthentication, gvr.WorkloadEntry)
	}
	if err := defineKinds(i.client, kinds...); err != nil {
		i.close()
		return nil, err
	}
	// Through the tracker: a create call through the client makes a REST
	// mapper of all of Kubernetes' kinds each time.
	tracker := i.client.Kube().(*fake.Clientset).Tracker()
	for _, object := range kubeObjects(m) {
		if err := tracker.Add(object); err != nil {
			i.close()
			return nil, err
		}
	}
	watcher := meshwatcher.NewTestWatcher(m.Mesh)
	debugger := new(krt.DebugHandler)

	env := model.NewEnvironment()
	env.Watcher = watcher
	updater := model.NewEndpointIndexUpdater(env.EndpointIndex)

	filter := namespace.NewDiscoveryNamespacesFilter(kclient.New[*corev1.Namespace](i.client), watcher, i.stop)
	kubelib.SetObjectFilter(i.client, filter)

	clusters := multicluster.NewController(multicluster.ControllerOptions{
		Client:          i.client,
		ClusterID:       clusterID,
		SystemNamespace: constants.IstioSystemNamespace,
		MeshConfig:      watcher,
		Debugger:        debugger,
	})
	env.AmbientIndexes = &model.NoopAmbientIndexes{}
	if Ambient() {
		i.ambient, i.contended = newAmbient(updater, watcher, clusters, debugger), contended(m)
		env.AmbientIndexes = i.ambient
	}
	registries := aggregate.NewController(aggregate.Options{MeshHolder: watcher, ConfigClusterID: clusterID})
	kube := kuberegistry.NewController(i.client, kuberegistry.Options{
		SystemNamespace:       constants.IstioSystemNamespace,
		DomainSuffix:          constants.DefaultClusterLocalDomain,
		XDSUpdater:            updater,
		Metrics:               env,
		MeshWatcher:           watcher,
		ClusterID:             clusterID,
		MeshServiceController: registries,
		ConfigCluster:         true,
		StatusWritingEnabled:  activenotifier.New(false),
		KrtDebugger:           debugger,
	})

	store := memory.NewController(memory.MakeSkipValidation(collections.PilotGatewayAPI()))
	for _, cfg := range m.Configs {
		// What lies in a namespace that the discovery selectors leave out does
		// not reach istiod's store (pilot/pkg/config/kube/crdclient).
		if !filter.Filter(&corev1.Pod{ObjectMeta: objectMeta(cfg.Meta)}) {
			continue
		}
		if _, err := store.Create(offline(allocated(cfg.DeepCopy()))); err != nil {
			i.close()
			return nil, fmt.Errorf("cannot store %s %s/%s: %w", cfg.GroupVersionKind.Kind, cfg.Namespace, cfg.Name, err)
		}
	}
	gateways := newGatewayAPI(m, i.client, updater, debugger)
	all := []model.ConfigStoreController{store}
	if gateways != nil {
		all = append(all, gateways)
	}
	stores, err := configaggregate.MakeWriteableCache(all, store)
	if err != nil {
		i.close()
		return nil, err
	}
	virtualServices := model.NewVirtualServiceController(stores, model.VSControllerOptions{KrtDebugger: debugger, XDSUpdater: updater}, watcher)
	entries := serviceentry.NewController(stores, updater, clusters, watcher,
		serviceentry.WithClusterID(clusterID), serviceentry.WithKRTDebugger(debugger))

	// The pods must be known before the ServiceEntries that select them are
	// converted: the collections of the latter settle on their own time, and
	// nothing tells when a later addition has been seen.
	// As kube/controller/multicluster.go initializeCluster does.
	if features.EnableServiceEntrySelectPods {
		kube.AppendWorkloadHandler(entries.WorkloadInstanceHandler)
	}
	if features.EnableK8SServiceSelectWorkloadEntries {
		entries.AppendWorkloadHandler(kube.WorkloadInstanceHandler)
	}
	registries.AddRegistry(entries)
	registries.AddRegistry(kube)

	if err := clusters.Run(i.stop); err != nil {
		i.close()
		return nil, err
	}
	i.client.RunAndWait(i.stop)
	if i.ambient != nil {
		go i.ambient.Run(i.stop)
		if err := i.wait("index for ambient mode", i.ambient.HasSynced); err != nil {
			return nil, err
		}
	}
	go kube.Run(i.stop)
	if err := i.wait("kubernetes registry", kube.HasSynced); err != nil {
		return nil, err
	}
	go entries.Run(i.stop)
	go stores.Run(i.stop)
	go virtualServices.Run(i.stop)
	if gateways != nil {
		if err := i.wait("service entries", entries.HasSynced); err != nil {
			return nil, err
		}
		gateways.Reconcile(servicesOnly(registries))
	}
	for _, part := range []struct {
		name   string
		synced func() bool
	}{{"configuration store", stores.HasSynced}, {"service entries", entries.HasSynced}, {"virtual services", virtualServices.HasSynced}} {
		if err := i.wait(part.name, part.synced); err != nil {
			return nil, err
		}
	}
	entries.ResyncEDS()
	if features.EnableK8SServiceSelectWorkloadEntries {
		awaitMachines(m, registries, env.EndpointIndex)
	}

	i.registries, i.entries = registries, entries
	env.ServiceDiscovery = orderedServices{registries, 0}
	env.ConfigStore = stores
	env.VirtualServiceController = virtualServices
	if gateways != nil {
		env.GatewayAPIController = gateways
	}
	env.NetworksWatcher = meshwatcher.NewFixedNetworksWatcher(nil)
	env.Init()
	if err := env.InitNetworksManager(updater); err != nil {
		i.close()
		return nil, err
	}
	i.env = env
	i.push = env.PushContext()
	i.push.InitContext(env, nil, nil)
	i.generator = core.NewConfigGenerator(&model.DisabledCache{})
	return i, nil
}

// again is the same control plane after another push, to which its services
// came in another order, and where gateways came before or after sidecars.
func (i *istiod) again(order int, shared bool) *istiod {
	other := *i
	other.order, other.shared = order, shared
	env := model.NewEnvironment()
	env.Watcher, env.NetworksWatcher, env.NetworkManager = i.env.Watcher, i.env.NetworksWatcher, i.env.NetworkManager
	env.ConfigStore, env.VirtualServiceController = i.env.ConfigStore, i.env.VirtualServiceController
	env.GatewayAPIController = i.env.GatewayAPIController
	env.EndpointIndex = i.env.EndpointIndex
	env.AmbientIndexes = i.env.AmbientIndexes
	env.ServiceDiscovery = orderedServices{i.registries, order}
	env.Init()
	other.env, other.push = env, env.PushContext()
	other.push.InitContext(env, nil, nil)
	return &other
}

func (i *istiod) wait(what string, done func() bool) error {
	deadline := time.Now().Add(syncTimeout)
	for pause := 50 * time.Microsecond; !done(); {
		if time.Now().After(deadline) {
			i.close()
			return fmt.Errorf("istiod's %s did not settle within %s", what, syncTimeout)
		}
		time.Sleep(pause)
		if pause < 2*time.Millisecond {
			pause *= 2
		}
	}
	return nil
}

func (i *istiod) close() {
	close(i.stop)
	i.client.Shutdown()
}

// kubeObjects are copies: istiod's informers strip what they do not need off
// the objects that they get.
func kubeObjects(m *Manifests) []runtime.Object {
	var objects []runtime.Object
	for _, ns := range m.Namespaces {
		objects = append(objects, ns.DeepCopy())
	}
	for _, service := range m.Services {
		objects = append(objects, service.DeepCopy())
	}
	for _, slice := range m.EndpointSlices {
		objects = append(objects, slice.DeepCopy())
	}
	for _, w := range m.Workloads {
		objects = append(objects, w.Pod.DeepCopy())
	}
	return objects
}

// offline gives rules for tokens whose keys are elsewhere the key that istiod takes
// where it can fetch none (pilot/pkg/model/jwks_resolver.go BuildLocalJwks), so that
// it does not try.
func offline(cfg config.Config) config.Config {
	if authentication, ok := cfg.Spec.(*security.RequestAuthentication); ok {
		for _, rule := range authentication.GetJwtRules() {
			if rule.GetJwks() == "" {
				rule.Jwks = model.PublicOnlyJwks
			}
		}
	}
	return cfg
}

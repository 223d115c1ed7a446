import Hummingbird
import WireText

/// All HTTP routes of the core (docs/core-api.md). Everything but `bootstrap` stands behind `Authentication`.
struct CoreRouter {
    let services: CoreServices

    func router() -> Router<CoreRequestContext> {
        let router = Router(context: CoreRequestContext.self)
        router.addMiddleware { ErrorBodies() }
        BootstrapRoutes(services: services).add(to: router)
        let guarded = router.group().addMiddleware { Authentication(tokens: services.tokens) }
        EncryptionRoutes(services: services).add(to: guarded)
        DeviceRoutes(services: services).add(to: guarded)
        DirectoryRoutes(services: services).add(to: guarded)
        ConversationRoutes(services: services).add(to: guarded)
        ActivityRoutes(services: services).add(to: guarded)
        FileRoutes(services: services).add(to: guarded)
        SearchRoutes(services: services).add(to: guarded)
        EDiscoveryRoutes(services: services).add(to: guarded)
        CalendarRoutes(services: services).add(to: guarded)
        PreviewRoutes(services: services).add(to: guarded)
        WebhookRoutes(services: services).add(to: guarded)
        return router
    }
}

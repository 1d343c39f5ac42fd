"""placeholder"""
def install(app, serving):
    @app.page("/")
    class Over(__import__("faust").web.View):
        async def get(self, request):
            s=serving
            sec, c, ages = s.metrics.window()
            return self.json({"ready": s.ready, "counts": {"accepted": s.metrics.totals.accepted,"duplicates": s.metrics.totals.duplicates,"late": s.metrics.totals.late,"replayed": s.metrics.totals.replayed}, "rate": c.accepted/sec, "age_p50": ages.quantile(.5), "age_p99": ages.quantile(.99), "checkpoint": s.replica.current.number, "items": len(s.model.items), "torn": s.replica.torn})

"""placeholder"""
def install(app, learning):
    @app.page("/")
    class Over(__import__("faust").web.View):
        async def get(self, request):
            l=learning
            return self.json({"active": l.active,"lag":l.lag,"items":l.items,"cp":l.checkpoint.number,"examples":l.checkpoint.examples,"repeated":l.checkpoint.repeated})
